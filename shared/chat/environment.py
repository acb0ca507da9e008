"""The Jinja environment of chat templates: the helpers that they expect, and a fence around them.

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
import time
from collections.abc import Callable, Iterable, Iterator, Sized
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
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from shared.chat.input_text import InputText, as_input, unmarked

BUDGET = "rendering budget"
"""The variable that holds a rendering's `Budget`: no name that a template can write."""

_TIMED = "timed loop"
_STEPS_PER_LOOK = 16
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_PIECES = 256  # of JSON that are written in one step


class Budget:
    """What one rendering may use: processor time, and characters that it makes of little.

    Some models' templates look through all messages for each message: with thousands of tiny ones
    they would take minutes. Others indent or repeat, as wide or as often as a request says.

    The time is the thread's own. A process that is frozen for a while, as serverless ones are, has
    not worked in the meantime.
    """

    __slots__ = ("_characters", "_deadline", "_steps", "_time_s")

    def __init__(self, time_s: float, characters: int) -> None:
        """For a rendering that begins now, in this thread."""
        self._time_s = time_s
        self._deadline = time.thread_time() + time_s
        self._characters = characters
        self._steps = 0

    def step(self) -> None:
        """Note a loop's turn or a call; raises `jinja2.TemplateRuntimeError` when time is up."""
        self._steps += 1
        if self._steps % _STEPS_PER_LOOK == 0 and time.thread_time() > self._deadline:
            raise jinja2.TemplateRuntimeError(
                f"rendering takes more than {self._time_s:g} s of processor time"
            )

    def take(self, characters: int) -> None:
        """Note that a text grows by ``characters``; raises `jinja2.TemplateRuntimeError`."""
        self._characters -= characters
        if self._characters < 0:
            raise jinja2.TemplateRuntimeError("rendering makes too much text")


def _joined(texts: Iterable[str]) -> str:
    """What a template, a macro or a block prints."""
    return as_input("".join(texts))


class _Joining(CodeGenerator):
    """Has ``~`` keep marks, as all else that joins texts."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("concat(map(str, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles chat templates; what it renders needs a `Budget` in the variable `BUDGET`."""

    intercepted_binops = frozenset("*")
    code_generator_class = _Joining
    concat = staticmethod(_joined)

    def __init__(self) -> None:
        """With everything that templates expect."""
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _GenerationTag]
        )
        self.filters = {name: _marking(function) for name, function in self.filters.items()}
        self.filters["tojson"] = _tojson
        self.filters["safe"] = _safe
        self.filters[_TIMED] = _timed
        self.globals |= {
            "dict": _Dict(),
            "namespace": _PublicNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def time_loops(self, template: nodes.Template) -> None:
        """Have every turn of every loop in ``template`` count as a step."""
        for loop in template.find_all(nodes.For):
            timed = nodes.Filter(loop.iter, _TIMED, [], [], None, None, lineno=loop.lineno)
            loop.iter = timed.set_environment(self)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call that a template makes, its own macros among them, comes through here."""
        context[BUDGET].step()
        return _input(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """A multiplication, which repeats if one side is a text or a list."""
        for repeated, times in ((left, right), (right, left)):
            if isinstance(repeated, Sized) and isinstance(times, int):
                context[BUDGET].take(len(repeated) * max(times, 0))
        return super().call_binop(context, operator, left, right)


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
def _timed(context: Context, iterable: Iterable[Any]) -> Iterator[Any]:
    budget: Budget = context[BUDGET]
    for item in iterable:
        budget.step()
        yield item


@jinja2.pass_context
def _tojson(  # noqa: PLR0917 - templates may give them in order
    context: Context,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    encoder = json.JSONEncoder(
        ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys
    )
    finish = _escaped if ensure_ascii else as_input
    if indent is None:
        return finish(encoder.encode(value))
    budget: Budget = context[BUDGET]
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
    return datetime.now().strftime(format)
