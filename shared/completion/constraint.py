"""Output constraints of a request: JSON Schema, grammar, regular expression, tool calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.chat.custom_tool import lark_of
from shared.completion.chat_prompt import begun_text
from shared.completion.client_disconnect import unless_disconnected
from shared.json_schema.errors import UnsupportedSchemaError
from shared.protocol.errors import APIError, invalid
from shared.protocol.fields import SharedFields
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_use import ToolUse
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.types import Receive

    from shared.engine.grammar.constraint import Constraint
    from shared.engine.grammar.grammar import GrammarKind
    from shared.runtime.served_model import ServedModel

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="constraints")
"""Threads of their own: grammars that take seconds hold up no more than other new grammars."""
_MAX_TOGETHER = 2**19
"""Characters of a grammar that is made of several schemas: each of them has a limit of its own."""
_SEARCH_S = 2.0
"""How long to look for the one of many tools whose schema is at fault."""


class Before(NamedTuple):
    """What keeps a request's constraint from being compiled for nothing.

    - ``check_room``: raises `APIError` for a request that the engine would not take.
    - ``receive``: tells when the client disconnects. Then `ClientDisconnect` is raised, and what
      waits for a thread does so no longer.
    """

    check_room: Callable[[], None]
    receive: Receive


@dataclass(frozen=True, slots=True)
class _Asked:
    """A grammar as the request gives it, and the field that does."""

    kind: GrammarKind
    source: str | Mapping[str, Any]
    param: str

    @property
    def field(self) -> str:
        """The request's field that ``param`` is a part of."""
        return self.param.partition(".")[0]


async def text_constraint(
    parsed: SharedFields, served: ServedModel, tenant: str, *, before: Before
) -> Constraint | None:
    """Output constraint of a text completion, None for none; raises `APIError` 400.

    ``before``: of compiling.
    """
    asked = _asked(parsed)
    if asked is None:
        return None
    return await _on_thread(before, partial(_compile, served, tenant, asked, None, None))


async def chat_constraint(
    parsed: ChatCompletionRequest,
    served: ServedModel,
    tenant: str,
    use: ToolUse | None,
    prompt: str,
    *,
    before: Before,
) -> Constraint | None:
    """Output constraint of a chat's answer: its format, its tool calls; raises `APIError` 400.

    Where there are both, the answer is either. What the model thinks first is its own affair.
    ``before``: as in `text_constraint`.
    """
    asked = _asked(parsed)
    if asked is None:
        if use is None:
            return None
        if not use.is_constrained:
            start = served.answers.reasoning_grammar(prompt, begun_text(parsed), may_end=True)
            work = partial(_compile_for_calls, served, tenant, use, start)
            return await _on_thread(before, work)
    if use is not None and use.is_required:
        asked = None
    start = served.answers.reasoning_grammar(prompt, begun_text(parsed))
    return await _on_thread(before, partial(_compile, served, tenant, asked, use, start))


async def _on_thread(before: Before, work: Callable[[], Constraint | None]) -> Constraint | None:
    before.check_room()
    compiling = asyncio.ensure_future(request_context().on_thread(work, _THREADS))
    return await unless_disconnected(before.receive, compiling)


def _compile_for_calls(
    served: ServedModel, tenant: str, use: ToolUse, start: str | None
) -> Constraint | None:
    """What a call that the model makes of its own accord has to look like once it has begun.

    Nobody has insisted on that: a tool whose parameters are beyond grammars takes any object, and
    tools that are too much together take what the model makes of them.
    """
    from shared.engine.grammar.errors import ConstraintError
    from shared.engine.grammar.grammar import combine

    def source(use: ToolUse) -> str:
        calls = served.answers.lazy_calls_grammar(use.callable, is_parallel=use.is_parallel)
        return combine(f"{start or 'start: answer'}\nanswer: @calls", {"calls": calls})

    compiler = served.constraints()
    try:
        wanted = source(use)
    except UnsupportedSchemaError:
        use = use.with_any_arguments(_beyond_grammars(use))
        wanted = source(use)
    if len(wanted) > _MAX_TOGETHER:
        return None
    if (kept := compiler.kept(wanted, tenant)) is not None:
        return kept.lazily(served.model.piece)
    try:
        return compiler.compile(wanted, tenant).lazily(served.model.piece)
    except ConstraintError:
        wrong = _wrong_tools(served, tenant, use)
        try:
            constraint = compiler.compile(source(use.with_any_arguments(wrong)), tenant)
        except ConstraintError:
            return None
    compiler.keep(wanted, constraint, tenant)
    return constraint.lazily(served.model.piece)


def _beyond_grammars(use: ToolUse) -> list[int]:
    """Tools whose parameters no grammar can be made of, numbered as in `ToolUse.callable`."""
    from shared.engine.grammar.errors import ConstraintError

    beyond = []
    for i, tool in enumerate(use.callable):
        try:
            _arguments_grammar(tool)
        except (ConstraintError, UnsupportedSchemaError):
            beyond.append(i)
    return beyond


def _asked(parsed: SharedFields) -> _Asked | None:
    """The one of several fields that asks for a format; raises `APIError` 400 for two of them."""
    found: list[_Asked] = []
    if parsed.grammar is not None:
        found.append(_Asked("gbnf", parsed.grammar, "grammar"))
    if parsed.regex is not None:
        found.append(_Asked("regex", parsed.regex, "regex"))
    if parsed.json_schema is not None:
        found.append(_Asked("json_schema", parsed.json_schema, "json_schema"))
    if parsed.response_format is not None and (wanted := parsed.response_format.schema_source()):
        found.append(_Asked("json_schema", *wanted))
    if len(found) > 1:
        raise invalid(
            f"'{found[0].field}' and '{found[1].field}' both say what the answer has to look like: "
            "send one of them.",
            found[0].field,
        )
    return found[0] if found else None


def _compile(
    served: ServedModel,
    tenant: str,
    asked: _Asked | None,
    use: ToolUse | None,
    start: str | None,
) -> Constraint:
    """Compile on the calling thread. ``start`` is Lark for what comes before ``answer``."""
    from shared.engine.grammar.errors import ConstraintError
    from shared.engine.grammar.grammar import combine, grammar

    parts: dict[str, str] = {}
    try:
        if use is not None:
            parts["calls"] = served.answers.calls_grammar(
                use.callable,
                is_required=use.is_required or asked is not None,
                is_parallel=use.is_parallel,
            )
        if asked is not None:
            parts["format"] = grammar(asked.kind, asked.source)
        if len(parts) == 1 and start is None:
            (whole,) = parts.values()
        else:
            answer = "\nanswer: " + " | ".join(f"@{name}" for name in parts)
            whole = combine((start or "start: answer") + answer, parts)
        if len(whole) > _MAX_TOGETHER:
            size = f"as a grammar it has {len(whole)} characters, more than the limit of "
            raise _unsupported(*_blamed(asked), f"{size}{_MAX_TOGETHER}")
        return served.constraints().compile(whole, tenant)
    except (ConstraintError, UnsupportedSchemaError) as error:
        wrong = {} if use is None else _wrong_tools(served, tenant, use)
        if use is not None and wrong:
            insisted = [i for i in wrong if use.insists_on_arguments(i)]
            if not insisted:
                return _compile(served, tenant, asked, use.with_any_arguments(wrong), start)
            reason = wrong[insisted[0]]
            is_text = lark_of(use.callable[insisted[0]]["function"]) is not None
            kind: GrammarKind = "lark" if is_text else "json_schema"
            raise _unsupported(kind, use.param(insisted[0]), reason) from None
        reason = str(error) if asked is None else _reason(asked, error)
        raise _unsupported(*_blamed(asked), reason) from None


def _blamed(asked: _Asked | None) -> tuple[GrammarKind, str]:
    """What can't be followed, and its field: what was asked for, or else the tools."""
    return ("json_schema", "tools") if asked is None else (asked.kind, asked.param)


def _wrong_tools(served: ServedModel, tenant: str, use: ToolUse) -> dict[int, str]:
    """Tools that can't be called for their parameters' schemas, and the reasons.

    The tools are numbered as in `ToolUse.callable`. They are looked at for two seconds at most.
    """
    from shared.engine.grammar.errors import ConstraintError

    deadline = time.monotonic() + _SEARCH_S
    wrong: dict[int, str] = {}
    for i, tool in enumerate(use.callable):
        if time.monotonic() > deadline:
            break
        try:
            served.constraints().compile(_arguments_grammar(tool), tenant)
        except (ConstraintError, UnsupportedSchemaError) as error:
            wrong[i] = _tools_reason(served, tenant, tool, error)
    return wrong


def _tools_reason(
    served: ServedModel, tenant: str, tool: Mapping[str, Any], error: ValueError
) -> str:
    """Why a tool can't be called, of ``error`` and of its own grammar where it has one.

    What calls follow is made of that grammar, and has other names and lines.
    """
    from shared.engine.grammar.errors import ConstraintError
    from shared.engine.grammar.grammar import grammar

    definition = lark_of(tool["function"])
    if definition is None or not isinstance(error, ConstraintError):
        return str(error)
    own = _Asked("lark", definition, "")
    try:
        served.constraints().compile(grammar(own.kind, definition), tenant)
    except ConstraintError as found:
        return _reason(own, found)
    return f"in JSON, {error}"


def _reason(asked: _Asked, error: ValueError) -> str:
    """Why ``asked`` can't be followed, in words that don't tell of what was made of it."""
    from shared.engine.grammar.errors import ConstraintError
    from shared.engine.grammar.gbnf import is_lark

    if not isinstance(error, ConstraintError):
        return str(error)
    if asked.kind == "regex":
        return error.reason
    is_own = asked.kind in ("lark", "gbnf") and is_lark(str(asked.source))
    return f"{error.place}: {error}" if error.place and is_own else str(error)


def _arguments_grammar(tool: Mapping[str, Any]) -> str:
    """The grammar of a tool's arguments; raises `ConstraintError`, `UnsupportedSchemaError`."""
    from shared.chat.tools.lark import arguments_grammar
    from shared.engine.grammar.grammar import grammar

    function = tool["function"]
    if (text := arguments_grammar(function)) is not None:
        return grammar("lark", text)
    return grammar("json_schema", {**_ANY_OBJECT, **(function.get("parameters") or {})})


def _unsupported(kind: GrammarKind, param: str, reason: str) -> APIError:
    what = "schema" if kind == "json_schema" else "grammar"
    called = "regular expression" if kind == "regex" else what
    return invalid(
        f"Invalid '{param}': the {called} is not supported: {reason}.", param, f"unsupported_{what}"
    )
