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

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import wraps
from itertools import islice
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from shared.chat.bounded_operations import (
    before_format,
    before_operation,
    bounded_filters,
    bounded_tests,
    call_method,
    compared,
    copied,
    text_of,
)
from shared.chat.budget import current
from shared.chat.input_text import InputText, as_input, unmarked

_TIMED = "timed loop"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_COMPARED = "compared"
_PIECES = 256  # of JSON that are written in one step
_SUMMANDS = 4
_MAX_INDENT = 64
_MAX_SEPARATOR = 16
_MAX_TIME_FORMAT = 1000
_TIME_WIDTH = re.compile(r"%[^a-zA-Z%]*\d")
_OF_PYTHON = (str, bytes, int, float, list, tuple, dict, set, frozenset, range, type)
"""Objects whose methods are Python's own, or those of a text that is one of these."""


class _BoundedCode(CodeGenerator):
    """Has what copies, joins and prints go through the environment, as calls do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._place_in_sum: dict[int, int] = {}
        """Of nodes that are summands of others, by id."""

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:
        # A sum of texts is counted once, for speed, or for every few summands of a long one.
        place = self._place_in_sum.pop(id(node), 0)
        if isinstance(node.left, nodes.Add):
            self._place_in_sum[id(node.left)] = (place + 1) % _SUMMANDS
        if place:
            super().visit_Add(node, frame)
        else:
            self._through("copied", super().visit_Add, node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("concat((")
        for part in node.nodes:
            self._print(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            self._through("copied", super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _through(
        self,
        function: str,
        visit: Callable[[Any, Frame], None],
        node: nodes.Expr,
        frame: Frame,
    ) -> None:
        self.write(f"environment.{function}(")
        visit(node, frame)
        self.write(")")

    def _print(self, node: nodes.Expr, frame: Frame) -> None:
        finalize = self._make_finalize()
        self._output_child_pre(node, frame, finalize)
        self.visit(node, frame)
        self._output_child_post(node, frame, finalize)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        super()._output_child_pre(node, frame, finalize)
        if not _is_text(node):
            self.write("printed if isinstance((printed := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if not _is_text(node):
            self.write("), str) else environment.text_of(printed)")
        super()._output_child_post(node, frame, finalize)


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles chat templates; what it renders spends the thread's current `Budget`."""

    intercepted_binops = frozenset(("*", "**", "%"))
    code_generator_class = _BoundedCode
    copied = staticmethod(copied)
    text_of = staticmethod(text_of)

    def __init__(self) -> None:
        """With everything that templates expect."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, _GenerationTag],
            optimized=False,  # it would look at long sums again and again
        )
        filters = bounded_filters({"safe": _safe})
        self.filters = {name: _marking(function) for name, function in filters.items()} | {
            "tojson": _tojson,
            _TIMED: _timed,
            _COMPARED: _compared,
        }
        self.tests |= bounded_tests()
        del self.globals["lipsum"]  # text of any length
        self.globals |= {
            "dict": _Dict(),
            "namespace": _PublicNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
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


def _is_text(node: nodes.Node) -> bool:
    """Whether a value is sure to be a text, or an error."""
    if isinstance(node, nodes.Const):
        return isinstance(node.value, str)
    if isinstance(node, nodes.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, (nodes.Concat, nodes.TemplateData))


class _GenerationTag(Extension):
    """``{% generation %}``: marks for training what the model itself has said; prints its body."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Dict:
    """``dict``: makes dictionaries.

    Not Python's type, whose methods (``dict.update(messages[0], ...)``) would change what the
    sandbox protects: it knows them by the object that they are called on.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class _PublicNamespace(Namespace):
    """``namespace``: an object with attributes, none of which looks like one of Python's own.

    Python and Jinja ask objects for ``__html__`` and the like, and trust what they get.
    """

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that ``namespace(self=1)`` works
        namespace, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_public(name)
        Namespace.__init__(namespace, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)


def _check_public(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace can't have an attribute {name!r}")


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


@jinja2.pass_context
def _tojson(
    _: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if indent is not None and (indent if isinstance(indent, int) else len(indent)) > _MAX_INDENT:
        raise jinja2.TemplateRuntimeError(f"JSON is indented by {_MAX_INDENT} at most")
    if any(len(separator) > _MAX_SEPARATOR for separator in separators or ()):
        raise jinja2.TemplateRuntimeError("JSON's separators are too long")
    text_of(value)
    encoder = json.JSONEncoder(
        ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys
    )
    finish = _escaped if ensure_ascii else as_input
    if indent is None:
        return finish(encoder.encode(value))
    budget = current()
    pieces = encoder.iterencode(value)
    text = []
    while part := "".join(islice(pieces, _PIECES)):
        budget.step()
        budget.take(len(part))
        text.append(part)
    return finish("".join(text))


def _safe(value: object) -> Markup:
    """``value`` as HTML that needs no escaping."""
    return Markup(str.__str__(value) if isinstance(value, InputText) else value)


def _escaped(text: str) -> str:
    """JSON with nothing but ASCII and marks."""
    return as_input(_NOT_ASCII.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    character = unmarked(found[0])
    return found[0] if character.isascii() else json.dumps(character)[1:-1]


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    if len(format) > _MAX_TIME_FORMAT or _TIME_WIDTH.search(format):
        raise jinja2.TemplateRuntimeError("the format of the time is too long")
    return datetime.now().strftime(format)
