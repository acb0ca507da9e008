"""Helpers that chat templates expect: ``tojson``, ``raise_exception``, ``strftime_now``, tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.utils import Namespace
from markupsafe import Markup

from shared.chat.jinja.budget import current
from shared.chat.jinja.input_text import InputText, as_input, unmarked
from shared.chat.jinja.operations import text_of

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_PIECES = 256  # of JSON that are written in one step
_MAX_INDENT = 64
_MAX_SEPARATOR = 16
_MAX_TIME_FORMAT = 1000
_TIME_WIDTH = re.compile(r"%[^a-zA-Z%]*\d")


class GenerationTag(Extension):
    """``{% generation %}``: marks for training what the model itself has said; prints its body."""

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class DictType:
    """``dict``: makes dictionaries.

    Not Python's type, whose methods (``dict.update(messages[0], ...)``) would change what the
    sandbox protects: it knows them by the object that they are called on.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


class PublicNamespace(Namespace):
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


@jinja2.pass_context
def tojson(
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


def safe(value: object) -> Markup:
    """``value`` as HTML that needs no escaping."""
    return Markup(str.__str__(value) if isinstance(value, InputText) else value)


def _escaped(text: str) -> str:
    """JSON with nothing but ASCII and marks."""
    return as_input(_NOT_ASCII.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    character = unmarked(found[0])
    return found[0] if character.isascii() else json.dumps(character)[1:-1]


def raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def strftime_now(format: str) -> str:
    if len(format) > _MAX_TIME_FORMAT or _TIME_WIDTH.search(format):
        raise jinja2.TemplateRuntimeError("the format of the time is too long")
    return datetime.now().strftime(format)
