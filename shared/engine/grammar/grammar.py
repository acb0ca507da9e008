"""Grammars in llguidance's form, from JSON Schema, GBNF, Lark and regular expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from llguidance import LLMatcher

from shared.engine.grammar.errors import ConstraintError
from shared.engine.grammar.gbnf import GBNFError, gbnf_to_lark, is_lark
from shared.json_schema.errors import UnsupportedSchemaError
from shared.json_schema.normal_form import normal_form, with_options
from shared.json_schema.text import to_text

GrammarKind = Literal["json_schema", "lark", "gbnf", "regex"]

_ESCAPE_OR_SLASH = re.compile(r"\\.|[\\/]", re.DOTALL)
_JSON_STYLE = {"item_separator": ",", "key_separator": ":", "whitespace_pattern": " "}


def grammar(kind: GrammarKind, source: str | Mapping[str, Any]) -> str:
    """``source`` in llguidance's own form, for `ConstraintCompiler.compile`.

    ``gbnf`` is llama.cpp's grammar format (Lark is recognised there too, since both are given in
    the same request field). Between JSON's tokens there may be one space: models have learnt to
    write ``{"a": 1, "b": 2}`` and lose the thread where they may not, but weak ones ramble in more
    white space than that. Raises `ConstraintError` for what can't be read; the rest shows when it
    is compiled.
    """
    if kind == "json_schema":
        return _schema_grammar(source)
    assert isinstance(source, str)
    if kind == "regex":
        return LLMatcher.grammar_from_lark(f"start: /{_between_slashes(source)}/")
    if kind == "gbnf" and not is_lark(source):
        try:
            source = gbnf_to_lark(source)
        except GBNFError as error:
            raise ConstraintError(str(error)) from error
    return LLMatcher.grammar_from_lark(source)


def _between_slashes(pattern: str) -> str:
    r"""A regular expression as Lark's terminals have it; raises `ConstraintError`.

    llguidance's own `grammar_from_regex` drops a backslash at the end, and writes ``\n`` for an end
    of line, which in verbose mode, ``(?x)``, is no white space and ends no comment.
    """

    def written(found: re.Match[str]) -> str:
        text = found[0]
        if text == "\\":
            raise ConstraintError("it ends with a backslash that escapes nothing")
        return {"/": r"\/", "\\\n": r"\n"}.get(text, text)

    return _ESCAPE_OR_SLASH.sub(written, pattern)


def _schema_grammar(source: str | Mapping[str, Any]) -> str:
    """A schema with options of ours: llguidance would take others from within the schema."""
    try:
        schema = json.loads(source) if isinstance(source, str) else source
        form = with_options(normal_form(schema), **_JSON_STYLE)
        text = to_text(form)
    except UnsupportedSchemaError as error:
        raise ConstraintError(str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConstraintError(f"the schema is no JSON object: {error}") from error
    return LLMatcher.grammar_from_json_schema(text)


def combine(start: str, parts: Mapping[str, str]) -> str:
    """A grammar of others: ``start`` is Lark, in which ``@name`` stands for ``parts[name]``."""
    grammars: list[dict[str, Any]] = [{"lark_grammar": start}]
    for name, part in parts.items():
        if part.lstrip().startswith("{"):
            first, *rest = json.loads(part)["grammars"]
            assert not rest, "parts are grammars of one piece"
            grammars.append({**first, "name": name})
        else:
            grammars.append({"lark_grammar": part, "name": name})
    return json.dumps({"grammars": grammars})
