"""Bodies of answers beside the models that document them: the same fields, in the same order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import BaseModel

from shared.protocol import responses
from shared.protocol.choices import usages
from shared.protocol.openai.chat_format import chat_body
from shared.protocol.openai.completions_format import text_body
from shared.protocol.openai.message import MessageChoice
from shared.protocol.usage import usage_fields
from tests.protocol.hand_made import HEAD, Vocabulary, finished, last, scored, usage
from tests.protocol.test_message import CALL, OTHER, THOUGHT, message_format, outputs

TEXT = '"\\\n\t\x00\x1f\x7f/ 你好 🔥 \u2028'
DETAILED = replace(
    usage(10, 8, 3), cache_write_tokens=2, prediction_tokens=5, accepted_prediction_tokens=4
)


def check(model: type[BaseModel], body: bytes) -> None:
    """What ``model`` would write of ``body``'s fields."""
    assert model.model_validate_json(body).model_dump_json().encode() == body


@pytest.mark.parametrize("has_timings", [False, True])
@pytest.mark.parametrize("has_logprobs", [False, True])
class TestWrittenAsDocumented:
    def test_texts(self, has_logprobs: bool, has_timings: bool) -> None:
        outputs = [last(i, TEXT, cost=DETAILED, logprobs=[scored(0, -0.1)]) for i in range(2)]
        body = text_body(
            HEAD,
            finished(*outputs, n=2),
            2,
            Vocabulary() if has_logprobs else None,
            has_timings=has_timings,
        )
        check(responses.TimedCompletion if has_timings else responses.Completion, body)

    def test_chats(self, has_logprobs: bool, has_timings: bool) -> None:
        outputs = [last(i, TEXT, cost=DETAILED, logprobs=[scored(0, -0.1)]) for i in range(2)]
        texts = Vocabulary() if has_logprobs else None
        choices = finished(*outputs, n=2)
        body = chat_body(HEAD, choices, texts, has_timings=has_timings, cost=1.25e-05)
        check(responses.ChatCompletion, body)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("text", ["Hi", CALL, f"I look.\n{CALL}\n{OTHER}", ""])
def test_messages_with_calls_and_reasoning_are_written_as_documented(
    text: str, legacy: bool
) -> None:
    choice = MessageChoice(message_format(reasoning=True, legacy=legacy), 0)
    for output in outputs(THOUGHT + text):
        choice.add(output)
    check(responses.ChatCompletion, chat_body(HEAD, [choice], None))


@pytest.mark.parametrize("cost", [None, 0.0, 1e-9, 0.1])
def test_usage_is_written_as_documented(cost: float | None) -> None:
    choices = finished(*(last(i, cost=DETAILED) for i in range(4)), n=4)
    fields = usage_fields(usages(choices), 2, 7, cost)
    assert fields == responses.Usage.model_validate(fields).model_dump()
    assert (fields["prompt_tokens"], fields["completion_tokens"]) == (20, 12)
    assert fields["prompt_tokens_details"]["cache_write_tokens"] == 4
    assert fields["completion_tokens_details"]["rejected_prediction_tokens"] == 4
