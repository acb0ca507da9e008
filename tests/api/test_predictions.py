"""Predicted outputs: a ``prediction`` makes the same answer of fewer steps, and the usage says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shared.engine.batching.row_costs import RowCosts
from tests.api.conformance import shows
from tests.api.openai_types import chat_chunks
from tests.server import Server, user

CHAT = "chat.request"
COUNT = user("Count from 1 to 20")
PREDICTED: dict[str, Any] = {"messages": COUNT, "temperature": 0, "max_tokens": 60}


def usage(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Tokens of a completion, and of those drafted from the prediction: accepted, rejected."""
    details = answer["usage"]["completion_tokens_details"]
    return (
        answer["usage"]["completion_tokens"],
        details["accepted_prediction_tokens"],
        details["rejected_prediction_tokens"],
    )


def content(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def predict(text: str) -> dict[str, Any]:
    return {"type": "content", "content": text}


@pytest.fixture(scope="module", autouse=True)
def _any_draft_pays() -> Iterator[None]:
    """How long the steps of a busy machine take must not say what is drafted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowCosts, "expected", lambda _costs, _n_rows: 1.0)
        yield


@pytest.fixture(scope="module")
def plain(server: Server) -> dict[str, Any]:
    """The answer without a prediction."""
    answer: dict[str, Any] = server.chat(**PREDICTED).json()
    assert usage(answer)[1:] == (0, 0)
    return answer


@shows(CHAT, "prediction", "prediction.type", "prediction.content")
@shows(CHAT, "prediction.content[text].type", "prediction.content[text].text")
@shows("chat.request+", "prediction.content.refusal")
def test_a_right_prediction_is_accepted(server: Server, plain: dict[str, Any]) -> None:
    before, middle, after = content(plain).partition("10")
    parts = [{"type": "text", "text": part} for part in (before, middle)]
    parts.append({"type": "refusal", "refusal": after})
    prediction = {"type": "content", "content": parts}
    answer = server.chat(**PREDICTED, prediction=prediction, timings_per_token=True).json()
    n_tokens, n_accepted, _ = usage(answer)
    assert (content(answer), n_tokens) == (content(plain), usage(plain)[0])
    assert n_tokens / 2 < n_accepted < n_tokens
    timings = answer["timings"]
    assert n_accepted <= timings["draft_n_accepted"] <= timings["draft_n"]


def test_a_wrong_prediction_is_left(server: Server, plain: dict[str, Any]) -> None:
    answer = server.chat(**PREDICTED, prediction=predict("Not at all. " * 5)).json()
    n_tokens, n_accepted, n_rejected = usage(answer)
    assert (content(answer), n_tokens) == (content(plain), usage(plain)[0])
    assert n_accepted == 0
    assert n_rejected < n_tokens


def test_an_edited_prediction_is_come_back_to(server: Server, plain: dict[str, Any]) -> None:
    edited = content(plain).replace("7", "seven")
    assert edited != content(plain)
    answer = server.chat(**PREDICTED, prediction=predict(edited)).json()
    assert content(answer) == content(plain)
    assert usage(answer)[1] > usage(plain)[0] / 2


def test_a_stream_has_the_same_text_and_counts(server: Server, plain: dict[str, Any]) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    prediction = predict(content(plain))
    chunks = chat_chunks(server.chat(**PREDICTED, prediction=prediction, **options).text)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == content(plain)
    counted = chunks[-1].usage
    assert counted is not None
    assert counted.completion_tokens_details is not None
    assert (counted.completion_tokens_details.accepted_prediction_tokens or 0) > 0


def test_a_prediction_may_be_as_long_as_content(server: Server) -> None:
    response = server.chat(messages=COUNT, prediction=predict("x" * (2**19 + 1)))
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (
        400,
        "prediction.content",
        "content_too_large",
    )


def test_nothing_is_drafted_where_that_is_switched_off(
    start_server: Any, plain: dict[str, Any]
) -> None:
    server = start_server("--spec-type", "none")
    answer = server.chat(**PREDICTED, prediction=predict(content(plain))).json()
    assert (content(answer), usage(answer)[1:]) == (content(plain), (0, 0))
