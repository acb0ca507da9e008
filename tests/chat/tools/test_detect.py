"""Which format a chat template stands for."""

from __future__ import annotations

import pytest

from shared.chat.template import CHATML
from shared.chat.tools import detect
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat
from shared.engine.llama.model import Model

MESSAGES = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
HERMES = (
    "{% if tools %}{{ tools | tojson }}{% endif %}" + MESSAGES + "{% for call in calls %}"
    '{{ \'<tool_call>\\n{"name": "\' + call.name + \'", "arguments": \' }}'
    "{{ call.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}"
)
HERMES_TOLD = (
    "{%- if tools %}{{- 'Answer with <tool_call>\n' }}\n"
    '{{- "{\\"name\\": <name>, \\"arguments\\": <object>}\\n</tool_call>" }}{% endif %}' + MESSAGES
)
LLAMA = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{{ '<|start_header_id|>user<|end_header_id|>' }}"
    + MESSAGES
    + "{{ '{\"name\": \"' + call.name + '\", ' }}\n{{ '\"parameters\": ' + call.arguments + '}' }}"
)
LLAMA_TOLD = (
    "{% if tools %}{{ '<|start_header_id|>' }}"
    'Respond with {"name": function name, "parameters": its arguments}.{% endif %}' + MESSAGES
)
MISTRAL_LIST = "{% if tools %}{{ '[TOOL_CALLS][' + calls + ']' }}{% endif %}" + MESSAGES
MISTRAL_NAMES = "{% if tools %}{{ '[TOOL_CALLS]' + name + '[ARGS]' + args }}{% endif %}" + MESSAGES
MISTRAL_IDS = (
    "{% if tools %}{{ '[TOOL_CALLS]' + name + '[CALL_ID]' + id + '[ARGS]' }}{% endif %}" + MESSAGES
)
QWEN_XML = (
    "{% if tools %}{{ '<tool_call>\\n<function=' + name + '>\\n</function></tool_call>' }}"
    "{{ 'not <tool_call>{\"name\": 1}' }}{% endif %}" + MESSAGES
)
GLM_XML = "{% if tools %}{{ '<tool_call>f<arg_key>k</arg_key></tool_call>' }}{% endif %}" + MESSAGES
OTHER = "{% if tools %}{{ '<|tool_calls_begin|>' + tools | tojson }}{% endif %}" + MESSAGES
SAID_ONLY = "{% if true %}{{ '<tool_call>\\n{\"name\": <name>}' }}{% endif %}{# tools #}" + MESSAGES


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (HERMES, "hermes"),
        (HERMES_TOLD, "hermes"),
        (LLAMA, "llama3"),
        (LLAMA_TOLD, "llama3"),
        (MISTRAL_LIST, "mistral"),
        (MISTRAL_NAMES, "mistral"),
        (MISTRAL_IDS, "mistral"),
        (QWEN_XML, "generic"),
        (GLM_XML, "generic"),
        (OTHER, "generic"),
        (SAID_ONLY, "generic"),
        (MESSAGES, "generic"),
        (CHATML, "generic"),
        ("{% if tools %}", "generic"),
    ],
)
def test_a_format_is_known_by_how_it_writes_calls(source: str, expected: str) -> None:
    assert detect(source).name == expected


def test_mistrals_ways_are_told_apart() -> None:
    assert isinstance(detect(MISTRAL_LIST), MistralListFormat)
    assert isinstance(detect(MISTRAL_NAMES), MistralNameFormat)
    assert "[CALL_ID]" not in detect(MISTRAL_NAMES).markers
    assert "[CALL_ID]" in detect(MISTRAL_IDS).markers


def test_the_builtin_model_writes_calls_like_hermes(vocabulary: Model) -> None:
    assert detect(vocabulary.chat_template or "").name == "hermes"


@pytest.mark.parametrize(
    ("source", "role"),
    [
        (MESSAGES, "system"),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('No!') }}{% endif %}", "user"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "user"),
    ],
    ids=["has one", "refuses", "ignores"],
)
def test_tools_are_told_where_the_template_lets_them(source: str, role: str) -> None:
    tools = [{"type": "function", "function": {"name": "get_time"}}]
    prepared, _ = detect(source).prepare([{"role": "user", "content": "Hello"}], tools)
    assert prepared[0]["role"] == role
    assert "get_time" in prepared[0]["content"]
