"""What the access log and traces are told of completions by upstreams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.aws_lambda.json_logs import request_fields
from shared.runtime.request_context import RequestContext, UpstreamInference
from shared.runtime.tracing import Tracing
from tests.app_server import AppServer
from tests.otlp import receiver
from tests.upstreams.fake_upstream import FakeUpstream, completion, delta, stream, whole

pytestmark = pytest.mark.integration


@pytest.fixture
def records(adapter: AppServer) -> Iterator[list[RequestContext]]:
    """The requests that have been logged."""
    found: list[RequestContext] = []
    observers = adapter._state.metrics.observers
    observers.append(found.append)
    yield found
    observers.remove(found.append)


@pytest.mark.parametrize("streams", [False, True])
def test_the_access_log_says_who_served_and_what_it_took(
    adapter: AppServer, upstream: FakeUpstream, records: list[RequestContext], streams: bool
) -> None:
    upstream.answer = whole(completion())
    if streams:
        usage = b'data: {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}}\n\n'
        upstream.answer = stream(delta("Paris"), usage, b"data: [DONE]\n\n")
    adapter.chat(model="big", stream=streams)
    (record,) = records
    fields = request_fields(record)
    assert (fields["model"], fields["served_by"]) == ("big", f"127.0.0.1:{upstream.port}")
    assert (fields["prompt_tokens"], fields["completion_tokens"]) == (20, 3)
    assert 0 <= fields["time_to_first_token_ms"] <= fields["duration_ms"]


def test_the_log_of_an_error_says_whose_it_is(
    adapter: AppServer, upstream: FakeUpstream, records: list[RequestContext]
) -> None:
    upstream.answer = stream(delta("Pa"))
    adapter.chat(model="big", stream=True)
    (record,) = records
    fields = request_fields(record)
    assert (fields["status"], fields["error_code"]) == (200, "upstream_answer_incomplete")
    assert fields["served_by"]


def test_a_traced_completion_has_a_span(
    adapter: AppServer,
    upstream: FakeUpstream,
    records: list[RequestContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.answer = whole(completion())
    with receiver() as traces:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.url)
        tracing = Tracing()
        monkeypatch.setattr(adapter._state, "tracing", tracing)
        answer = adapter.chat(model="mild")
        tracing.close()
        spans = {span.name: span for span in traces.take()}
    found = spans["chat mild"].attributes
    assert found["gen_ai.response.id"] == answer.json()["id"]
    assert found["gen_ai.request.temperature"] == 0.7
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["server.address"] == f"127.0.0.1:{upstream.port}"
    assert isinstance(records[0].inference, UpstreamInference)
