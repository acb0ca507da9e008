"""Which requests become spans, below which parents, with which attributes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from shared.engine.types import GenerationRequest, SamplingParams, SequenceUsage
from shared.protocol.choices import Choice
from shared.protocol.errors import APIError
from shared.runtime.request_context import (
    GenerationRecord,
    Inference,
    RequestContext,
    UpstreamInference,
)
from shared.runtime.tracing import Tracing, is_configured
from tests.otlp import ERROR, SERVER, Receiver, Span, receiver

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CHAT = "/v1/chat/completions"


@pytest.fixture
def traces(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as found:
        monkeypatch.setenv(ENDPOINT, found.url)
        yield found


def traceparent(flags: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"traceparent", f"00-{TRACE}-{PARENT}-{flags}".encode())]


def trace(context: RequestContext, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Trace one request to its end."""
    tracing = Tracing()
    tracing.begin(context, context.path, headers or [])
    if context.span is not None:
        tracing.end(context)
    tracing.close()


def request(path: str = CHAT, **fields: object) -> RequestContext:
    context = RequestContext("req_1", "POST", time.monotonic(), path=path, status=200)
    for name, value in fields.items():
        setattr(context, name, value)
    return context


def choice(reason: Literal["stop", "length", "tool_calls"]) -> Choice:
    usage = SequenceUsage(
        prompt_tokens=12,
        cached_tokens=4,
        completion_tokens=5,
        queue_seconds=0.5,
        prefill_seconds=0.5,
        decode_seconds=2,
    )
    return Choice(finish_reason=reason, usage=usage)


def inference(**fields: Any) -> Inference:
    sampling = SamplingParams(seed=7)
    return Inference(
        **{
            "operation": "chat",
            "response_id": "chatcmpl-1",
            "is_streamed": False,
            "seed": None,
            "requests": [GenerationRequest(prompt=[1], max_tokens=20, sampling=sampling)],
            "choices": [choice("stop")],
            "submitted": time.monotonic() - 4,
            **fields,
        }
    )


def upstream_inference(**fields: Any) -> UpstreamInference:
    return UpstreamInference(
        **{
            "operation": "chat",
            "provider": "anthropic",
            "response_id": "chatcmpl-1",
            "is_streamed": True,
            "fields": {"temperature": 0, "max_tokens": 9, "seed": 2**63, "n": 2, "stop": ["x"]},
            "finish_reasons": lambda: ["stop", "content_filter"],
            "submitted": time.monotonic() - 4,
            **fields,
        }
    )


def named(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({ENDPOINT: "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_an_endpoint_switches_it_on(environ: dict[str, str], expected: bool) -> None:
    assert is_configured(environ) is expected


def test_a_request_of_nobody_who_is_traced_begins_a_trace(traces: Receiver) -> None:
    trace(request())

    [span] = traces.take()
    assert (span.name, span.kind, span.parent) == (f"POST {CHAT}", SERVER, "")
    assert span.resource["service.name"] == "pilotlight"
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "pilotlight.request_id": "req_1",
    }


def test_a_callers_trace_is_continued(traces: Receiver) -> None:
    trace(request(), traceparent("01"))

    [span] = traces.take()
    assert (span.trace, span.parent) == (TRACE, PARENT)


def test_a_caller_that_is_not_sampled_is_not_traced(traces: Receiver) -> None:
    trace(request(), traceparent("00"))

    assert traces.take() == []


@pytest.mark.parametrize("header", [b"", b"00-zz-yy-01", b"\xff", b"00-" + b"0" * 32])
def test_what_is_no_traceparent_is_none(traces: Receiver, header: bytes) -> None:
    trace(request(), [(b"traceparent", header)])

    [span] = traces.take()
    assert span.parent == ""


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/metrics"])
def test_probes_are_not_traced(traces: Receiver, path: str) -> None:
    trace(request(path))

    assert traces.take() == []


def test_the_environment_names_the_service_and_samples(
    traces: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "lamp")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")
    trace(request())
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    trace(request())

    [span] = traces.take()
    assert span.resource["service.name"] == "lamp"
    assert span.resource["deployment.environment.name"] == "staging"


def test_a_generation_is_a_span_with_its_parts(traces: Receiver) -> None:
    now = time.monotonic()
    generation = GenerationRecord(
        prompt_tokens=12,
        cached_tokens=4,
        completion_tokens=10,
        submitted=now - 4,
        begun=now - 3.5,
        first_token=now - 3,
        ended=now - 1,
    )
    asked = inference(submitted=now - 4)
    trace(request(model="lamp", generation=generation, inference=asked, is_deadline_reached=True))

    spans = named(traces.take())
    whole = spans["chat lamp"]
    assert whole.parent == spans[f"POST {CHAT}"].id
    assert whole.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "pilotlight",
        "gen_ai.request.model": "lamp",
        "gen_ai.request.max_tokens": 20,
        "gen_ai.request.temperature": 1.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.response.model": "lamp",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": 10,
        "pilotlight.deadline_reached": True,
    }
    seconds = {name: span.end - span.start for name, span in spans.items()}
    expected = {"queue": 0.5, "prefill": 0.5, "decode": 2, "chat lamp": 3}
    assert {name: seconds[name] for name in expected} == pytest.approx(expected, abs=1e-3)
    assert {spans[name].parent for name in ("queue", "prefill", "decode")} == {whole.id}


def test_what_was_asked_for_is_in_the_span(traces: Receiver) -> None:
    sampling = SamplingParams(
        seed=2**64 - 1,
        temperature=0.5,
        top_p=0.25,
        top_k=40,
        frequency_penalty=1.5,
        presence_penalty=-1.5,
    )
    asked = GenerationRequest(
        prompt=[1], max_tokens=20, sampling=sampling, n=2, stop=("\n", "x" * 4096)
    )
    choices = [choice("length"), choice("tool_calls"), Choice()]  # the last has not ended
    found = inference(requests=[asked], choices=choices, seed=2**64 - 1, is_streamed=True)
    trace(request(model="lamp", inference=found))

    attributes = named(traces.take())["chat lamp"].attributes
    expected = {
        "request.temperature": 0.5,
        "request.top_p": 0.25,
        "request.top_k": 40.0,
        "request.frequency_penalty": 1.5,
        "request.presence_penalty": -1.5,
        "request.seed": -1,  # the same 64 bits, as OTLP has them
        "request.choice.count": 2,
        "request.stop_sequences": ["\n", "x" * 64],
        "request.stream": True,
        "response.finish_reasons": ["length", "tool_calls"],
    }
    assert {name: attributes[f"gen_ai.{name}"] for name in expected} == expected


@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63, -(2**63)])
def test_any_seed_can_be_sent(traces: Receiver, seed: int) -> None:
    trace(request(model="lamp", inference=inference(seed=seed)))

    sent = named(traces.take())["chat lamp"].attributes["gen_ai.request.seed"]
    assert sent % 2**64 == seed % 2**64


def test_a_generation_that_fails_is_an_error_of_its_own_span(traces: Receiver) -> None:
    error = APIError(500, "oh", code="worse")
    trace(request(model="lamp", inference=inference(choices=[Choice()]), error=error))

    spans = named(traces.take())
    whole = spans["chat lamp"]
    assert set(spans) == {f"POST {CHAT}", "chat lamp"}
    assert (whole.status, whole.attributes["error.type"]) == (ERROR, "worse")
    assert "gen_ai.response.finish_reasons" not in whole.attributes


def test_only_the_servers_failures_are_errors(traces: Receiver) -> None:
    trace(request(status=400, error=APIError(400, "no", code="bad")))
    trace(request(status=500, error=APIError(500, "oh", code="worse")))

    callers, servers = traces.take()
    assert (callers.attributes["error.type"], servers.attributes["error.type"]) == ("bad", "worse")
    assert callers.status != ERROR
    assert servers.status == ERROR


def test_storing_has_a_span(traces: Receiver) -> None:
    trace(request(store_started=time.monotonic() - 1, store_seconds=0.25))

    spans = named(traces.take())
    assert spans["store"].end - spans["store"].start == pytest.approx(0.25, abs=1e-3)
    assert spans["store"].parent == spans[f"POST {CHAT}"].id


def test_spans_go_as_the_environment_says(
    traces: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    trace(request())

    assert len(traces.take()) == 1
    [headers] = traces.headers
    assert (headers["api-key"], headers["content-encoding"]) == ("secret", "gzip")


def test_a_completion_by_an_upstream_says_whose_it_is(traces: Receiver) -> None:
    started = time.monotonic() - 5
    record = GenerationRecord(
        prompt_tokens=12,
        cached_tokens=4,
        completion_tokens=5,
        submitted=started,
        begun=started,
        first_token=started + 1,
        ended=started + 2,
    )
    context = request(
        model="claude",
        served_by="api.anthropic.com",
        inference=upstream_inference(),
        generation=record,
        started=started,
    )
    trace(context)

    spans = named(traces.take())
    assert set(spans) == {f"POST {CHAT}", "chat claude"}
    found = spans["chat claude"].attributes
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude",
        "gen_ai.response.model": "claude",
        "gen_ai.response.id": "chatcmpl-1",
        "server.address": "api.anthropic.com",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.seed": -(2**63),
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop", "content_filter"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.time_to_first_chunk": pytest.approx(1),
    }
