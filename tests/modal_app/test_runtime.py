"""Functions as they were deployed, run by Modal's own container runtime."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from modal_proto import api_pb2

from tests.modal_app.runtime import Container, Worker
from tests.modal_app.variables import CAPITAL, KEY_HASH, user

VARIABLES = {"PILOTLIGHT_API_KEY_HASH": KEY_HASH, "PILOTLIGHT_THREADS": "1"}
SUCCESS = api_pb2.GenericResult.GENERIC_STATUS_SUCCESS


@pytest.fixture(scope="module")
def worker(processes: None) -> Iterator[Worker]:
    """A control plane with one deployment, to run functions of."""
    worker = Worker()
    ended = worker.deploy(**VARIABLES)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    yield worker
    worker.close()


@pytest.fixture
def container(worker: Worker, tmp_path: Path) -> Iterator[Container]:
    """The GPU function's container, without a snapshot."""
    yield from started(worker, "Inference.*", tmp_path)


def started(
    worker: Worker, name: str, directory: Path, *, is_snapshotted: bool = False
) -> Iterator[Container]:
    """Start a function's container; it ends with the test."""
    container = worker.start(name, directory, is_snapshotted=is_snapshotted)
    yield container
    container.kill()


def body(messages: Iterable[dict[str, Any]]) -> bytes:
    """A response's body."""
    return b"".join(message.get("body", b"") for message in messages)


def chat(container: Container, **fields: Any) -> Iterator[dict[str, Any]]:
    """Ask for the capital of France, unless ``messages`` are given."""
    return container.post("/v1/chat/completions", {"messages": CAPITAL, **fields})


def test_it_answers_and_lets_a_stream_end_when_interrupted(
    worker: Worker, container: Container
) -> None:
    start, *rest = chat(container, temperature=0)
    parts = chat(
        container, messages=user("Tell me a story"), max_tokens=200, ignore_eos=True, stream=True
    )
    begun = [next(parts), next(parts)]
    container.stop(signal.SIGINT)
    text = body([*begun, *parts]).decode()
    log = container.wait()

    assert start["status"] == 200
    assert "Paris" in json.loads(body(rest))["choices"][0]["message"]["content"]
    assert text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"length"' in text
    assert worker.results() == [SUCCESS, SUCCESS]
    # Without the stream where that was faster than the signal, with others that ask for the health.
    assert re.search(r"shutting down: \d requests have 20 s to end", log)
    assert "shut down: " in log
    assert "Traceback" not in log
    assert container.process.returncode == 0


def test_a_snapshot_holds_no_model_without_the_gpus_memory(worker: Worker, tmp_path: Path) -> None:
    for container in started(worker, "Inference.*", tmp_path, is_snapshotted=True):
        worker.await_checkpoint()
        before = container.text()
        commits = worker.sent(api_pb2.VolumeCommitRequest)
        container.restore()
        answer = body(chat(container, temperature=0))

        assert "model pilotlight-builtin ready" not in before
        assert len(commits) == 1, "what was downloaded might be lost, or missing in copies"
        assert "Paris" in json.loads(answer)["choices"][0]["message"]["content"]
        assert "model pilotlight-builtin ready" in container.text()


def test_the_function_without_a_model_answers_after_a_snapshot(
    worker: Worker, tmp_path: Path
) -> None:
    for container in started(worker, "Api.*", tmp_path, is_snapshotted=True):
        worker.await_checkpoint()
        container.restore()
        models = json.loads(body(container.get("/v1/models")))

        assert [model["id"] for model in models["data"]] == ["pilotlight-builtin"]
