"""Grammars of tool formats, in pieces of llguidance's Lark.

The JSON in them is spaced like the model's own: chat templates write calls with ``tojson``, which
puts a space behind commas and colons, and that is what models were trained on. Any other white
space is ruled out, since weak models ramble in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from shared.chat.custom_tool import INPUT, lark_of
from shared.chat.tools.base import Tool
from shared.chat.tools.lark_text import LarkError, json_text_rules
from shared.json_schema.errors import UnsupportedSchemaError
from shared.json_schema.normal_form import normal_form, with_options

_JSON_STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}

_WS = r"[ \t\r\n]"

ANY_SPACE = f"{_WS}*"
"""White space, for the regular expressions of `begun_call`."""

_BEFORE_NAME = r'\{_("type"_:_"function"_,_)?"name"_:_'.replace("_", ANY_SPACE)

TEXT = r"/(.|\n)*/"
"""Any text."""

TEXT_WITHOUT_BRACE = r"/[ \t\r\n]*([^{ \t\r\n](.|\n)*)?/"
"""Any text that does not begin with a JSON object."""

SPACE = r"/[ \t\r\n]*/"
"""White space."""


def quoted(text: str) -> str:
    """``text`` as a string of Lark, which JSON's strings are too."""
    return json.dumps(text, ensure_ascii=False)


def call_rules(tools: Sequence[Tool], spell: Callable[[str, str], str]) -> str:
    """The rule ``call``: one of ``tools`` with valid arguments.

    ``spell`` gives the expression for a call, made of a function's name and the expression for its
    arguments.
    """
    rules = ["call: " + " | ".join(f"call_{index}" for index in range(len(tools)))]
    for index, tool in enumerate(tools):
        function = tool["function"]
        rules.append(f"call_{index}: {spell(function['name'], f'arguments_{index}')}")
        rules.append(_arguments(f"arguments_{index}", function))
    return "\n".join(rules) + "\n"


def arguments_grammar(function: Tool) -> str | None:
    """The grammar of a custom tool's arguments that are in Lark; None for those of a schema.

    Raises `UnsupportedSchemaError`.
    """
    return None if lark_of(function) is None else _arguments("start", function) + "\n"


def _arguments(rule: str, function: Tool) -> str:
    """The rule ``rule`` of a function's arguments; raises `UnsupportedSchemaError`."""
    definition = lark_of(function)
    if definition is None:
        return f"{rule}: %json {json.dumps(_schema(function), ensure_ascii=False)}"
    prefix = f"{rule}_text_"
    head, tail = quoted(f'{{"{INPUT}": "'), quoted('"}')
    try:
        return f"{rule}: {head} {prefix}start {tail}\n{json_text_rules(definition, prefix)}"
    except LarkError as error:
        raise UnsupportedSchemaError(None, "format", f"can't be followed: {error}") from None


def begun_call(rule: str, before: str, tools: Sequence[Tool]) -> str:
    """The rule ``rule``: a call that is one from its name on, and text up to there.

    ``before`` is the regular expression of what stands before its brace. It may be spaced in any
    way up to there, as whoever wrote it was free to; `call_rules` has the rules of its arguments.
    """
    ways: list[str] = []
    rules: list[str] = []
    for index, tool in enumerate(tools):
        name = re.escape(tool["function"]["name"])
        ways.append(f'{rule}_{index} BEHIND_NAME arguments_{index} FEW_SPACES "}}"')
        rules.append(f'{rule}_{index}[lazy]: /{before}{_BEFORE_NAME}"{name}"/')
    return "\n".join([f"{rule}: {' | '.join(ways)}", *rules]) + "\n"


BEGUN_CALL_RULES = rf"""
BEHIND_NAME: /{_WS}{{0,12}},{_WS}{{0,12}}"(arguments|parameters)"{_WS}{{0,12}}:{_WS}{{0,12}}/
FEW_SPACES: /{_WS}{{0,12}}/
"""
"""What the rules of `begun_call` refer to."""


def json_call(key: str, closing: str = quoted("}")) -> Callable[[str, str], str]:
    """For `call_rules`: a JSON object with the arguments under ``key``.

    ``closing`` is the expression for what follows the arguments.
    """

    def spell(name: str, arguments: str) -> str:
        head = f'{{"name": {quoted(name)}, "{key}": '
        return f"{quoted(head)} {arguments} {closing}"

    return spell


def text_before(marker: str, text: str = TEXT) -> str:
    """The rules ``TEXT`` and ``announced``, which is ``TEXT`` that ends with the first ``marker``.

    ``marker`` is an expression: where it is a string it ends the text at once, lazily. A control
    token is no text, and so ends it anyway.
    """
    lazily = "[lazy]" if marker.startswith('"') else ""
    return f"TEXT: {text}\nannounced{lazily}: TEXT {marker}\n"


def _schema(function: Tool) -> dict[str, Any]:
    """The schema of a function's arguments: an object, written as models write it.

    Without ``parameters`` a function has none (OpenAI's rule); null or ``{}`` says nothing on them.
    Raises `UnsupportedSchemaError`.
    """
    if "parameters" not in function:
        schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    else:
        schema = {"type": "object", **(function["parameters"] or {})}
    return with_options(normal_form(schema), **_JSON_STYLE)
