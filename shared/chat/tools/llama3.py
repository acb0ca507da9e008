"""Llama 3 tool format: a JSON object, or ``<|python_tag|>`` and a call behind it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence

from shared.chat.cursor import Step
from shared.chat.deltas import DeltaParser
from shared.chat.tools import lark
from shared.chat.tools.base import Message, Tool, ToolFormat, tool_names
from shared.chat.tools.history import one_call_each
from shared.chat.tools.parser import CallParser

_PYTHON_TAG = "<|python_tag|>"
_SUFFIX = ".call"


class Llama3Format(ToolFormat):
    """``{"name": "f", "parameters": {...}}`` as the whole message, several with ``;`` between.

    Such an object may also follow ``<|python_tag|>``, and so may ``f.call(name="value")``, in which
    the models call the tools that Meta gave them.
    """

    name = "llama3"
    markers = (_PYTHON_TAG,)

    def parser(self, tools: Sequence[Tool]) -> DeltaParser:
        """A parser for one completion by a model that was offered ``tools``."""
        return Llama3Parser(tools)

    def prepare(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None
    ) -> tuple[Sequence[Message], Sequence[Tool] | None]:
        """Messages with one call each: the templates refuse more."""
        return one_call_each(messages), tools

    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],
    ) -> str:
        """A grammar for completions whose calls are all valid; it has no calls in Python."""
        more = '("; " call)*' if parallel else ""
        if required:
            return f"start: call {more}\n" + lark.call_rules(tools, lark.json_call("parameters"))
        return (
            f"start: TEXT | SPACE call {more} | {_begun(parallel=parallel)}\nSPACE: {lark.SPACE}\n"
            + lark.text_before(marker(_PYTHON_TAG), lark.TEXT_WITHOUT_BRACE)
            + _begun_rules(tools)
        )

    def lazy_grammar(
        self, tools: Sequence[Tool], *, parallel: bool, marker: Callable[[str], str]
    ) -> str:
        """A grammar that is followed from the name of one of ``tools``, or from the marker on."""
        more = '("; " call)*' if parallel else ""
        return (
            f"start: TEXT | bare {more} | {_begun(parallel=parallel)}\n"
            + lark.text_before(marker(_PYTHON_TAG))
            + lark.begun_call("bare", lark.ANY_SPACE, tools)
            + _begun_rules(tools)
        )


def _begun(*, parallel: bool) -> str:
    """Calls behind the marker, and in a list, which `Llama3Parser` reads too."""
    more, more_listed = ('("; " call)*', '(", " call)*') if parallel else ("", "")
    return f'announced call {more} | listed {more_listed} "]"'


def _begun_rules(tools: Sequence[Tool]) -> str:
    return (
        lark.begun_call("listed", rf"{lark.ANY_SPACE}\[{lark.ANY_SPACE}", tools)
        + lark.BEGUN_CALL_RULES
        + lark.call_rules(tools, lark.json_call("parameters"))
    )


class Llama3Parser(CallParser):
    """Reads calls at the beginning of a message, and behind the marker."""

    separator = ";"

    def __init__(self, tools: Sequence[Tool]) -> None:
        """For a model that was offered ``tools``: other objects may be the answer itself."""
        super().__init__()
        self._names = tool_names(tools)

    def message(self) -> Step[None]:
        """Read the whole message."""
        yield from self.calls(self._names)
        while (yield from self.text_before(_PYTHON_TAG)):
            yield from self._cursor.space()
            if (yield from self._cursor.peek()) in "{[":
                yield from self.calls()
            else:
                yield from self._python_call()

    def _python_call(self) -> Step[None]:
        """Read ``name.call(...)``; anything else is content."""
        name = yield from self._cursor.run(_NAME)
        if name.endswith(_SUFFIX) and (yield from self._cursor.peek()) == "(":
            code = yield from self._parentheses()
            arguments = _as_json(code)
            if arguments is not None:
                self.begin_call(name.removesuffix(_SUFFIX))
                self.arguments(arguments)
                self._cursor.mark()
                return
        self.take_back()

    def _parentheses(self) -> Step[str]:
        """Read up to the parenthesis that closes the one that comes next, or to the end."""
        cursor = self._cursor
        code: list[str] = []
        depth = 0
        while character := (yield from cursor.peek()):
            if character in "'\"":
                code.append((yield from self._python_string(character)))
                continue
            code.append((yield from cursor.run(_CODE)) or cursor.take(cursor.position + 1))
            if character in "([{":
                depth += 1
            elif character in ")]}":
                depth -= 1
                if depth == 0:
                    break
        return "".join(code)

    def _python_string(self, quote: str) -> Step[str]:
        """Read a string between ``quote``s.

        One between triple quotes is three strings here, which is right if no quote is in it.
        """
        cursor = self._cursor
        pieces = [cursor.take(cursor.position + 1)]
        while (character := (yield from cursor.peek())) not in ("", quote):
            if character == "\\":
                pieces.append(cursor.take(cursor.position + 1))
                yield from cursor.peek()
                end = min(cursor.position + 1, len(cursor.text))
                pieces.append(cursor.take(end))
            else:
                pieces.append((yield from cursor.run(_IN_STRING[quote])))
        yield from cursor.literal(quote)
        return "".join([*pieces, quote])


_NAME = re.compile(r"[\w.-]*")
_CODE = re.compile(r"""[^'"()\[\]{}]*""")
_IN_STRING = {"'": re.compile(r"[^'\\]*"), '"': re.compile(r'[^"\\]*')}


def _as_json(code: str) -> str | None:
    """The keyword arguments in ``code``, such as ``(city="Paris", days=2)``, as a JSON object.

    None if they are anything but literals with names.
    """
    try:
        call = ast.parse(f"f{code}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        if None in arguments:  # **arguments
            return None
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return text
