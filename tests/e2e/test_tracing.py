"""Traces of a server: OTLP to whatever collector the environment names."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.otlp import SERVER, receiver
from tests.server import CAPITAL, ServerProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
CHAT = "/v1/chat/completions"


def test_a_server_sends_the_traces_of_its_requests(processes: None, tmp_path: Path) -> None:
    with receiver() as traces:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
        server = ServerProcess(tmp_path / "traced.log", environ=environ)
        try:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            body = {"messages": CAPITAL, "stream": True}
            answer = server.http.post(CHAT, json=body, headers=headers)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        finally:
            server.stop()

        assert answer.status_code == 200
        spans = {span.name: span for span in traces.take()}
    assert set(spans) == {
        f"POST {CHAT}",
        "chat pilotlight-builtin",
        "queue",
        "prefill",
        "decode",
    }
    request = spans[f"POST {CHAT}"]
    assert (request.trace, request.parent, request.kind) == (TRACE, PARENT, SERVER)
    assert request.attributes["pilotlight.request_id"] == answer.headers["x-request-id"]
    assert not any("Paris" in repr(span) or "capital" in repr(span) for span in spans.values())
