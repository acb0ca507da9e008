"""Jinja environment (sandbox) of chat templates: the helpers that they expect, within bounds.

Templates are written for, and tested with, the ``transformers`` library's ``apply_chat_template``,
so this one offers what that one does (compared with version 5.23): ``trim_blocks`` and
``lstrip_blocks``, the tags ``break``, ``continue`` and ``generation``, a ``tojson`` that keeps the
order of keys and escapes nothing, ``raise_exception`` and ``strftime_now``.

A template comes out of a model's file, and is a program by somebody else. What it handles comes
out of requests. So the sandbox has no way out and no way to change what it is given, and a
rendering has a `Budget`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import loopcontrols
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shared.chat.jinja.budget import current
from shared.chat.jinja.code_generator import BoundedCodeGenerator
from shared.chat.jinja.filters import bounded_filters, bounded_tests
from shared.chat.jinja.helpers import (
    DictType,
    GenerationTag,
    PublicNamespace,
    raise_exception,
    safe,
    strftime_now,
    tojson,
)
from shared.chat.jinja.input_text import as_input
from shared.chat.jinja.operations import (
    before_format,
    before_operation,
    call_method,
    compared,
    copied,
    text_of,
)

_TIMED = "timed loop"
_COMPARED = "compared"
_OF_PYTHON = (str, bytes, int, float, list, tuple, dict, set, frozenset, range, type)
"""Objects whose methods are Python's own, or those of a text that is one of these."""
_ATTRIBUTES_OF_OBJECTS = frozenset(dir(dict))


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles chat templates; what it renders spends the thread's current `Budget`."""

    intercepted_binops = frozenset(("*", "**", "%"))
    code_generator_class = BoundedCodeGenerator
    copied = staticmethod(copied)
    text_of = staticmethod(text_of)

    def __init__(self) -> None:
        """With everything that templates expect."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, GenerationTag],
            optimized=False,  # it would look at long sums again and again
        )
        filters = bounded_filters({"safe": safe})
        self.filters = {name: _marking(function) for name, function in filters.items()} | {
            "tojson": tojson,
            _TIMED: _timed,
            _COMPARED: _compared,
        }
        self.tests |= bounded_tests()
        del self.globals["lipsum"]  # text of any length
        self.globals |= {
            "dict": DictType(),
            "namespace": PublicNamespace,
            "raise_exception": raise_exception,
            "strftime_now": strftime_now,
        }

    def bound(self, template: nodes.Template) -> None:
        """Have every turn of every loop in ``template`` count as a step, and comparisons too.

        What is compared with a constant takes no longer than that is large.
        """
        for loop in list(template.find_all(nodes.For)):
            loop.iter = self._through(_TIMED, loop.iter)
        for comparison in list(template.find_all(nodes.Compare)):
            sides = [comparison.expr, *(operand.expr for operand in comparison.ops)]
            if len(sides) > 2 or not any(map(_is_constant, sides)):
                comparison.expr = self._through(_COMPARED, comparison.expr)
                for operand in comparison.ops[:-1]:
                    operand.expr = self._through(_COMPARED, operand.expr)
        for pair in list(template.find_all(nodes.Pair)):
            if not _is_constant(pair.key):
                pair.key = self._through(_COMPARED, pair.key)
        for item in list(template.find_all(nodes.Getitem)):
            if not isinstance(item.arg, nodes.Slice) and not _is_constant(item.arg):
                item.arg = self._through(_COMPARED, item.arg)

    def _through(self, name: str, expression: nodes.Node) -> nodes.Filter:
        assert isinstance(expression, nodes.Expr)
        through = nodes.Filter(expression, name, [], [], None, None, lineno=expression.lineno)
        through.set_environment(self)
        return through

    def concat(self, texts: Iterable[str]) -> str:
        """What a template, a macro or a block prints."""
        parts = list(texts)
        current().copy(sum(map(len, parts)))
        return as_input("".join(parts))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As the sandbox has it, which finds a JSON object's fields by an error of Python's."""
        if type(obj) is dict and attribute in obj and attribute not in _ATTRIBUTES_OF_OBJECTS:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call that a template makes, its own macros among them, comes through here."""
        current().step()
        if isinstance(function, Macro):
            return _input(super().call(context, function, *args, **kwargs))
        for argument in args:
            compared(argument)
        if kwargs:
            kwargs.pop("_loop_vars", None)  # what its code adds to calls
            kwargs.pop("_block_vars", None)
            for argument in kwargs.values():
                compared(argument)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, _OF_PYTHON) and self.is_safe_callable(function):
            return _input(call_method(owner, function, args, kwargs))
        return _input(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A product, which repeats texts and lists, a power, or a format."""
        if operator == "%" and isinstance(left, int):  # every loop over messages does it
            return left % right
        before_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Python's ``format``, of texts."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @wraps(wrapped)
        def format(*args: Any, **kwargs: Any) -> str:
            before_format(value.__self__, args, kwargs)
            return wrapped(*args, **kwargs)

        return format


def _is_constant(node: nodes.Node) -> bool:
    """Whether comparing with it takes no time: it is a constant, or true or false."""
    if isinstance(node, (nodes.Compare, nodes.Not, nodes.Test)):
        return True
    items = node.items if isinstance(node, (nodes.Tuple, nodes.List)) else [node]
    return all(
        isinstance(item, nodes.Const) and not isinstance(item.value, (tuple, list, dict))
        for item in items
    )


def _input(value: Any) -> Any:
    """What a function or a filter gives, an `InputText` where there are marks in it."""
    return as_input(value) if isinstance(value, str) else value


def _marking(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose texts are an `InputText` where there are marks in them."""

    @wraps(function)
    def filter(*args: Any, **kwargs: Any) -> Any:
        return _input(function(*args, **kwargs))

    return filter


@jinja2.pass_context  # also keeps Jinja from running it once for all, when it compiles
def _timed(_: Context, iterable: Iterable[Any]) -> Iterator[Any]:
    budget = current()
    for item in iterable:
        budget.step()
        yield item


@jinja2.pass_context
def _compared(_: Context, value: Any) -> Any:
    return compared(value)
