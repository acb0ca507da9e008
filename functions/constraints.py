"""What answers have to look like, as constraints that the engine follows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.protocol.errors import invalid
from shared.protocol.fields import SharedFields
from shared.protocol.tool_use import ToolUse

if TYPE_CHECKING:
    from shared.engine.constraints import Constraint, GrammarKind
    from shared.models.served import ServedModel

_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A grammar as the request gives it, and the field that does."""

    kind: GrammarKind
    source: str | Mapping[str, Any]
    param: str


async def constraint(
    served: ServedModel, kind: GrammarKind, source: str | Mapping[str, Any], param: str
) -> Constraint:
    """A compiled constraint; raises `APIError` 400. ``param`` names the field of ``source``."""
    return await asyncio.to_thread(_compile, served, _Asked(kind, source, param), None, None)


async def text_constraint(parsed: SharedFields, served: ServedModel) -> Constraint | None:
    """What the request asks of a text, None for nothing; raises `APIError` 400."""
    asked = _asked(parsed)
    return None if asked is None else await asyncio.to_thread(_compile, served, asked, None, None)


async def chat_constraint(
    parsed: SharedFields, served: ServedModel, use: ToolUse | None, prompt: str
) -> Constraint | None:
    """What the request asks of an answer: its format, its tool calls; raises `APIError` 400.

    Where there are both, the answer is either. What the model thinks first is its own affair.
    """
    asked = _asked(parsed)
    if asked is None and (use is None or not use.is_constrained):
        return None
    if use is not None and use.is_required:
        asked = None
    before = served.answers.reasoning_grammar(prompt)
    return await asyncio.to_thread(_compile, served, asked, use, before)


def _asked(parsed: SharedFields) -> _Asked | None:
    """The one of several fields that asks for a format; raises `APIError` 400 for two of them."""
    found: list[_Asked] = []
    if parsed.grammar is not None:
        found.append(_Asked("gbnf", parsed.grammar, "grammar"))
    if parsed.regex is not None:
        found.append(_Asked("regex", parsed.regex, "regex"))
    if parsed.json_schema is not None:
        found.append(_Asked("json_schema", parsed.json_schema, "json_schema"))
    wanted = parsed.response_format
    if wanted is not None and wanted.type == "json_object":
        schema = wanted.object_schema or _ANY_OBJECT
        found.append(_Asked("json_schema", schema, "response_format.schema"))
    elif wanted is not None and wanted.json_schema is not None and wanted.type == "json_schema":
        schema = wanted.json_schema.json_schema or {}
        found.append(_Asked("json_schema", schema, "response_format.json_schema.schema"))
    if len(found) > 1:
        raise invalid(
            f"'{found[0].param}' and '{found[1].param}' both say what the answer has to look like: "
            "send one of them.",
            found[0].param,
        )
    return found[0] if found else None


def _compile(
    served: ServedModel, asked: _Asked | None, use: ToolUse | None, start: str | None
) -> Constraint:
    """Compile on the calling thread. ``start`` is Lark for what comes before ``answer``."""
    from shared.engine.constraints import ConstraintError, combine, grammar

    parts: dict[str, str] = {}
    if use is not None:
        parts["calls"] = served.answers.calls_grammar(
            use.callable,
            is_required=use.is_required or asked is not None,
            is_parallel=use.is_parallel,
        )
    try:
        if asked is not None:
            parts["format"] = grammar(asked.kind, asked.source)
        if len(parts) == 1 and start is None:
            return served.constraints().compile(*parts.values())
        answer = "\nanswer: " + " | ".join(f"@{name}" for name in parts)
        return served.constraints().compile(combine((start or "start: answer") + answer, parts))
    except ConstraintError as error:
        param = "tools" if asked is None else asked.param
        what = "schema" if asked is None or asked.kind == "json_schema" else "grammar"
        raise invalid(
            f"Invalid '{param}': the {what} is not supported: {error}.",
            param,
            f"unsupported_{what}",
        ) from None
