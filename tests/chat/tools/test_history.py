"""Earlier calls are rewritten where a family's template would refuse them."""

from __future__ import annotations

from typing import Any

from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat

USER = {"role": "user", "content": "Weather in Paris and Rome?"}


def call(name: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": {}}}


def result(text: str, call_id: str) -> dict[str, Any]:
    return {"role": "tool", "content": text, "tool_call_id": call_id}


class TestLlama3:
    """Its templates take one call in a message."""

    def test_each_call_is_followed_by_its_result(self) -> None:
        calls = [call("paris", "a"), call("rome", "b"), call("oslo", "c")]
        history: list[dict[str, Any]] = [
            USER,
            {"role": "assistant", "content": "Looking.", "tool_calls": calls},
            result("third", "c"),
            result("first", "a"),
            result("second", "b"),
            {"role": "assistant", "content": "Sunny."},
        ]

        messages, tools = Llama3Format().prepare(history, None)

        assert tools is None
        assert messages == [
            USER,
            {"role": "assistant", "content": "Looking.", "tool_calls": [calls[0]]},
            result("first", "a"),
            {"role": "assistant", "tool_calls": [calls[1]]},
            result("second", "b"),
            {"role": "assistant", "tool_calls": [calls[2]]},
            result("third", "c"),
            {"role": "assistant", "content": "Sunny."},
        ]

    def test_other_messages_stay_as_they_are(self) -> None:
        history: list[dict[str, Any]] = [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call("paris", "a")]},
            result("first", "a"),
            result("of nobody", "z"),
        ]

        assert Llama3Format().prepare(history, None)[0] == history


class TestMistral:
    """Its templates take ids of nine letters and digits."""

    def test_ids_of_others_become_nine_characters_that_still_belong_together(self) -> None:
        history: list[dict[str, Any]] = [
            USER,
            {"role": "assistant", "content": "", "tool_calls": [call("paris", "call_" + "x" * 24)]},
            result("first", "call_" + "x" * 24),
        ]

        messages, _ = MistralListFormat().prepare(history, None)

        new_id = messages[1]["tool_calls"][0]["id"]
        assert len(new_id) == 9
        assert new_id.isalnum()
        assert messages[2]["tool_call_id"] == new_id
        assert MistralListFormat().prepare(history, None)[0] == messages
        assert history[2]["tool_call_id"] == "call_" + "x" * 24

    def test_its_own_ids_stay(self) -> None:
        history: list[dict[str, Any]] = [
            {"role": "assistant", "content": "", "tool_calls": [call("f", "abcDEF123")]}
        ]

        assert MistralListFormat().prepare(history, None)[0] == history
