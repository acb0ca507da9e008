"""Modal stops a container: running requests end, or are told that they can't."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.api.openai_types import chat_chunks
from tests.modal_app.container_process import ContainerProcess, StartContainer
from tests.modal_app.control_plane import ROOT
from tests.modal_app.variables import ENDED
from tests.otlp import receiver
from tests.server import user, wait_until

HANDLERS = [("asgi", signal.SIGINT), ("server", signal.SIGTERM)]
"""Each with the signal by which Modal's runtime is told to end its containers."""


@contextmanager
def running_stream(container: ContainerProcess, **fields: Any) -> Iterator[Iterator[str]]:
    """A long answer that has begun."""
    body = {
        "messages": user("Tell me a story"),
        "ignore_eos": True,
        "max_tokens": 3000,
        "stream": True,
        **fields,
    }
    with container.http.stream("POST", "/v1/chat/completions", json=body) as response:
        parts = response.iter_text()
        yield chain([next(parts)], parts)


def last_event(text: str) -> Any:
    """The last of a stream's events, which is whole."""
    *events, last, end = text.split("\n\n")
    assert events
    assert end == ""
    return json.loads(last.removeprefix("data: "))


def is_shutting_down(container: ContainerProcess) -> bool:
    """Whether new requests are turned away."""
    return container.http.get("/health").status_code == 503


@pytest.mark.parametrize(("handler", "number"), HANDLERS)
def test_a_stream_ends_within_the_grace_period_and_is_stored(
    start_container: StartContainer, tmp_path: Path, handler: str, number: signal.Signals
) -> None:
    store = {"PILOTLIGHT_STORE": f"sqlite:{tmp_path}/store"}
    container = start_container(PILOTLIGHT_MODAL_HANDLER=handler, **store)

    with running_stream(container, max_tokens=400, store=True) as parts:
        text = next(parts)
        container.stop(number)
        wait_until(lambda: is_shutting_down(container), "draining")
        text += "".join(parts)
    log = container.wait()
    stored = list(start_container("Api", **store).client().chat.completions.list())

    chunks = chat_chunks(text)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert [each.id for each in stored] == [chunks[0].id]
    # Without the stream where that was faster than the signal, with others that ask for the health.
    assert re.search(r"shutting down: \d requests have 20 s to end", log)
    assert ENDED in log
    assert "Traceback" not in log


@pytest.mark.parametrize(("handler", "number"), HANDLERS)
def test_the_last_spans_are_sent(
    start_container: StartContainer, handler: str, number: signal.Signals
) -> None:
    with receiver() as traces:
        container = start_container(
            PILOTLIGHT_MODAL_HANDLER=handler,
            OTEL_EXPORTER_OTLP_ENDPOINT=traces.url,
            OTEL_BSP_SCHEDULE_DELAY="3600000",  # an hour
        )
        body = {"messages": user("Hi"), "max_tokens": 2}
        assert container.http.post("/v1/chat/completions", json=body).status_code == 200
        container.stop(number)
        container.wait()
        spans = {span.name for span in traces.take()}

    assert {"POST /v1/chat/completions", "chat pilotlight-builtin"} <= spans


@pytest.mark.parametrize(("handler", "number"), HANDLERS)
def test_a_stream_that_takes_longer_ends_with_an_error_event(
    start_container: StartContainer, handler: str, number: signal.Signals
) -> None:
    container = start_container(
        PILOTLIGHT_MODAL_HANDLER=handler, PILOTLIGHT_GRACE_PERIOD="0.1", PILOTLIGHT_CTX_SIZE="65536"
    )

    with running_stream(container, n=8) as parts:
        container.stop(number)
        text = "".join(parts)
    log = container.wait()

    assert "error" in last_event(text)
    assert "1 requests are cut off" in log
    assert ENDED in log
    assert "Traceback" not in log


def test_a_second_interrupt_does_not_wait(start_container: StartContainer) -> None:
    container = start_container(PILOTLIGHT_CTX_SIZE="65536")

    with running_stream(container, n=8) as parts:
        container.stop(signal.SIGINT)
        wait_until(lambda: is_shutting_down(container), "draining")
        container.stop(signal.SIGINT)
        text = "".join(parts)
    log = container.wait()

    assert "error" in last_event(text)
    assert "0 requests ended, 1 were cut off" in log
    assert ENDED in log
    assert "Traceback" not in log


def test_an_idle_container_ends_at_once(start_container: StartContainer) -> None:
    container = start_container()

    container.stop(signal.SIGINT)
    log = container.wait()

    assert "shutting down: 0 requests" in log
    assert ENDED in log


@pytest.mark.parametrize("handler", ["asgi", "server"])
def test_a_dead_engine_ends_the_container(
    start_container: StartContainer, tmp_path: Path, handler: str
) -> None:
    order = tmp_path / "sabotage"
    sabotage = ROOT / "tests" / "aws_lambda" / "sabotage"
    container = start_container(
        PILOTLIGHT_MODAL_HANDLER=handler, PYTHONPATH=f"{sabotage}:{ROOT}", SABOTAGE_FILE=str(order)
    )
    with running_stream(container) as parts:
        text = next(parts)
        order.write_text("engine", encoding="ascii")
        text += "".join(parts)
    log = container.wait()
    assert last_event(text)["error"]["type"] == "server_error"
    assert container.process.exitcode == 1
    assert "the engine has died: the container ends" in log
