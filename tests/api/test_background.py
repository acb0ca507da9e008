"""Responses in the background: polling, events, cancelling, limits, failures."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import Mock, patch

import orjson
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI, RateLimitError
from openai.types.responses import Response

from functions.http import request_body
from functions.http.dispatch import background, translation
from shared.completion.completion import Completion
from tests.api.conftest import StartServer
from tests.api.responses import MODEL, QUESTION
from tests.app_server import AppServer
from tests.server import wait_until

LONG: dict[str, Any] = {"max_output_tokens": 2000, "extra_body": {"ignore_eos": True}}


@pytest.fixture
def client(server: AppServer) -> OpenAI:
    return server.openai(max_retries=0)


def begin(client: OpenAI, **fields: Any) -> Response:
    defaults = {"model": MODEL, "input": QUESTION, "max_output_tokens": 16, "temperature": 0}
    answer = client.responses.create(**{**defaults, "background": True, "store": True, **fields})
    assert isinstance(answer, Response)
    return answer


def ended(client: OpenAI, response_id: str) -> Response:
    """The response once it has ended."""

    def is_done() -> bool:
        return client.responses.retrieve(response_id).status not in ("queued", "in_progress")

    wait_until(is_done, "the end of the response")
    return client.responses.retrieve(response_id)


def test_a_response_is_polled(client: OpenAI, server: AppServer) -> None:
    begun = begin(client, metadata={"a": "b"})
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    done = ended(client, begun.id)
    same = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=16, temperature=0)
    assert (done.status, done.output_text) == ("completed", same.output_text)
    assert (done.background, done.model, done.metadata) == (True, same.model, {"a": "b"})
    assert done.usage is not None
    assert done.usage.output_tokens > 0
    assert client.responses.cancel(done.id).status == "completed"
    assert client.responses.input_items.list(done.id).data
    goes_on = client.responses.create(
        model=MODEL, input="And?", previous_response_id=done.id, max_output_tokens=2
    )
    assert goes_on.previous_response_id == done.id
    assert client.responses.delete(done.id) is None  # type: ignore[func-returns-value]
    with pytest.raises(NotFoundError):
        client.responses.retrieve(done.id)
    assert f"response {done.id} completed" in server.log_text()


def test_events_are_read_again(client: OpenAI) -> None:
    """From the beginning, from the middle, and after the end."""
    with client.responses.create(
        model=MODEL, input=QUESTION, temperature=0, background=True, store=True, stream=True
    ) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    created: Any = events[0]
    assert created.response.status == "queued"
    final: Any = events[-1]
    assert client.responses.retrieve(final.response.id) == final.response
    for after in (-1, 0, 4, len(events) - 2, len(events) - 1, len(events) + 5):
        with client.responses.retrieve(
            final.response.id, stream=True, starting_after=after
        ) as again:
            assert list(again) == events[after + 1 :]


@pytest.mark.slow
def test_a_client_that_leaves_ends_nothing(client: OpenAI) -> None:
    stream = client.responses.create(
        model=MODEL, input=QUESTION, background=True, store=True, stream=True, **LONG
    )
    first: Any = next(iter(stream))
    stream.close()
    running = client.responses.retrieve(first.response.id)
    assert running.status in ("queued", "in_progress")
    with client.responses.retrieve(first.response.id, stream=True, starting_after=3) as rest:
        numbers = [event.sequence_number for event in rest]
    assert numbers == list(range(4, 4 + len(numbers)))
    assert ended(client, first.response.id).status == "incomplete"


@pytest.mark.slow
def test_reading_from_beyond_the_last_event_waits_for_the_end(client: OpenAI) -> None:
    stream = client.responses.create(
        model=MODEL, input=QUESTION, background=True, store=True, stream=True, **LONG
    )
    first: Any = next(iter(stream))
    stream.close()
    with client.responses.retrieve(first.response.id, stream=True, starting_after=10**6) as rest:
        assert list(rest) == []
    assert ended(client, first.response.id).status == "incomplete"


def test_input_is_listed_before_the_end_as_behind_it(client: OpenAI) -> None:
    given = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Paris."}]
    begun = begin(client, input=[*given, given[0]], instructions="Be brief.", **LONG)
    pages: tuple[dict[str, Any], ...] = ({}, {"limit": 1, "order": "desc"})
    listed = [client.responses.input_items.list(begun.id, **page).data for page in pages]
    assert client.responses.retrieve(begun.id).status in ("queued", "in_progress")
    assert [getattr(item, "role", None) for item in listed[0]] == ["user", "assistant", "user"]
    assert listed[1] == listed[0][:1:-1]
    with pytest.raises(BadRequestError) as refused:
        client.responses.input_items.list(begun.id, after="msg_none")
    assert refused.value.param == "after"
    client.responses.cancel(begun.id)
    assert [client.responses.input_items.list(begun.id, **page).data for page in pages] == listed


def test_no_response_goes_on_from_one_that_runs(client: OpenAI) -> None:
    begun = begin(client, **LONG)
    with pytest.raises(BadRequestError, match="not done yet") as refused:
        client.responses.create(model=MODEL, input="And?", previous_response_id=begun.id)
    assert refused.value.param == "previous_response_id"
    client.responses.cancel(begun.id)


def test_a_response_is_cancelled(client: OpenAI) -> None:
    begun = begin(client, **LONG)
    wait_until(
        lambda: client.responses.retrieve(begun.id).status == "in_progress", "the first token"
    )
    with pytest.raises(BadRequestError):
        client.responses.delete(begun.id)
    cancelled = client.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    assert client.responses.retrieve(begun.id) == cancelled
    assert cancelled.usage is None or cancelled.usage.output_tokens < 2000
    assert client.responses.cancel(begun.id) == cancelled


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"store": False}, "store"),
        ({"store": None}, "store"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "word " * 5000}, "input"),
        (
            {
                "tools": [{"type": "function", "name": "f", "parameters": {"type": "x"}}],
                "tool_choice": "required",
            },
            "tools[0]",
        ),
    ],
)
def test_what_is_wrong_is_said_at_once(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        begin(client, **fields)
    assert (refused.value.param or "").startswith(param)


def test_other_responses_can_not_be_streamed_again_or_cancelled(client: OpenAI) -> None:
    polled = begin(client)
    ended(client, polled.id)
    answered = client.responses.create(model=MODEL, input="Hi", store=True, max_output_tokens=1)
    for response_id in (polled.id, answered.id):
        with pytest.raises(BadRequestError) as refused:
            client.responses.retrieve(response_id, stream=True)
        assert refused.value.param == "stream"
    client.responses.delete(polled.id)
    for response_id in (polled.id, "resp_0"):
        with pytest.raises(NotFoundError):
            client.responses.retrieve(response_id, stream=True)
    with pytest.raises(BadRequestError):
        client.responses.cancel(answered.id)


def test_a_failure_is_the_responses(client: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Completion, "_trace", fail)
    failed = ended_by_itself(client, begin(client).id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "server_error"


def ended_by_itself(client: OpenAI, response_id: str) -> Response:
    wait_until(lambda: client.responses.retrieve(response_id).status == "failed", "the failure")
    return client.responses.retrieve(response_id)


def test_a_tenant_has_so_many(start_server: StartServer) -> None:
    """Others have theirs, and see nothing of them."""
    server = start_server("--api-key", "sk-one,sk-two", "--background-responses", "1")
    one, two = (server.openai(api_key=key, max_retries=0) for key in ("sk-one", "sk-two"))
    begun = begin(one, **LONG)
    with pytest.raises(RateLimitError) as refused:
        begin(one)
    assert refused.value.response.headers["retry-after"]
    assert ended(two, begin(two).id).status == "completed"
    for ask in (
        two.responses.retrieve,
        two.responses.input_items.list,
        two.responses.cancel,
        two.responses.delete,
    ):
        with pytest.raises(NotFoundError):
            ask(begun.id)
    assert one.responses.cancel(begun.id).status == "cancelled"
    assert ended(one, begin(one).id).status == "completed"


@pytest.mark.parametrize("options", [("--background-responses", "0"), ("--store", "none")])
def test_a_server_without_says_so(start_server: StartServer, options: tuple[str, str]) -> None:
    with pytest.raises(BadRequestError) as refused:
        begin(start_server(*options).openai())
    assert refused.value.param == "background"


def test_platforms_that_end_between_requests_refuse(
    server: AppServer, client: OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._state, "background", None)
    with pytest.raises(APIStatusError) as refused:
        begin(client)
    assert (refused.value.status_code, refused.value.code) == (400, "unsupported_parameter")
    assert "between two requests" in refused.value.message


def test_what_is_kept_is_few_objects(client: OpenAI, server: AppServer) -> None:
    """However many log probabilities it has: forgetting them would hold the event loop."""
    n_tokens = 64
    begun = begin(
        client,
        include=["message.output_text.logprobs"],
        top_logprobs=20,
        max_output_tokens=n_tokens,
        extra_body={"ignore_eos": True},
    )
    ended(client, begun.id)
    assert server._state.background is not None
    kept = server._state.background.get("default", begun.id)
    assert kept is not None
    assert kept.n_bytes > 20 * 50 * n_tokens
    assert _n_containers([getattr(kept, name) for name in ("queued", "response", "fields")]) < 50


def _n_containers(value: Any) -> int:
    """Lists and dictionaries in ``value``, itself among them."""
    if isinstance(value, dict):
        return 1 + sum(map(_n_containers, value.values()))
    return 1 + sum(map(_n_containers, value)) if isinstance(value, list) else 0


def test_a_large_request_is_written_on_threads(client: OpenAI) -> None:
    """As it is without `background`."""
    threads: set[str] = set()

    def dumps(value: Any) -> bytes:
        if "Long" in str(value):
            threads.add(threading.current_thread().name.split("_")[0])
        return orjson.dumps(value)

    fake = Mock(dumps=dumps, loads=orjson.loads, JSONDecodeError=orjson.JSONDecodeError)
    with (
        patch.object(request_body, "_INLINE_BYTES", 100),
        patch.object(translation, "orjson", fake),
        patch.object(background, "orjson", fake),
    ):
        begun = begin(client, instructions="Long" * 50, max_output_tokens=1)
        ended(client, begun.id)
    assert threads == {"requests"}
