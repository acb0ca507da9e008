"""SnapStart: the hooks under the real runtime client, and what copies of a snapshot don't share."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.models.sources import BUILTIN_PATH
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import http_api_event
from tests.aws_lambda.function import API, INFERENCE, PYTHON, TASK_ROOT, Function, environment
from tests.aws_lambda.runtime_api import ANSWER_SECONDS
from tests.models.s3_server import BUCKET, S3Server
from tests.models.s3_server import environment as s3_environment
from tests.server import CAPITAL, user

pytestmark = pytest.mark.usefixtures("processes")

CHAT = "/v1/chat/completions"
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
ROOT = Path(__file__).parents[2]
NOTHING = http_api_event("GET", CHAT, query="metadata[task]=none")
"""Finds no stored completion, for which it has to ask the table."""
PROBE = "tests.aws_lambda.probe.handler"


def restore(function: Function) -> None:
    """Go on as a copy, once the snapshot could be taken."""
    assert function.api.is_snapshot_ready.wait(ANSWER_SECONDS), function.log_text()
    function.api.may_restore.set()


class CredentialsServer:
    """Lambda's endpoint for credentials, which functions with SnapStart have instead of variables."""

    def __init__(self) -> None:
        self.count = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.count += 1
                found = {
                    "AccessKeyId": f"key-{outer.count}",
                    "SecretAccessKey": "secret",
                    "Token": "token",
                    "Expiration": (datetime.now(UTC) + timedelta(hours=6)).isoformat(),
                }
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://{}:{}/credentials".format(*self.server.server_address[:2])


@pytest.fixture
def credentials() -> Iterator[CredentialsServer]:
    """New credentials for each who asks."""
    found = CredentialsServer()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """A bucket with the built-in model."""
    server = S3Server()
    server.put("llms/small.gguf", BUILTIN_PATH.read_bytes())
    with server.serving():
        yield server


def test_a_snapshot_has_the_model_and_no_connection(
    start_function: StartFunction,
    s3: S3Server,
    stored_in: dict[str, str],
    credentials: CredentialsServer,
) -> None:
    environ = {
        **s3_environment(s3.url),
        **stored_in,
        **SNAP_START,
        "PILOTLIGHT_MODEL": f"s3://{BUCKET}/llms/small.gguf",
        "AWS_ENDPOINT_URL_S3": s3.url,
        "AWS_ENDPOINT_URL_DYNAMODB": stored_in["AWS_ENDPOINT_URL"],
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials.url,
    }
    without_keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    function = start_function(INFERENCE, {**environ, **without_keys})
    assert function.api.is_snapshot_ready.wait(ANSWER_SECONDS), function.log_text()
    connections = psutil.Process(function.process.pid).net_connections("tcp")
    others = {":".join(map(str, c.raddr)) for c in connections} - {function.api.address}
    n_gets, n_credentials = len(s3.gets), credentials.count

    function.api.may_restore.set()
    answer = function.request(http_api_event("POST", CHAT, {"messages": CAPITAL, "temperature": 0}))
    listed = function.request(NOTHING)

    assert not others
    assert n_gets > 0
    assert "Paris" in answer.text
    assert len(s3.gets) == n_gets, "the model is fetched once"
    assert function.log_text().count("ready in") == 1
    assert listed.status == 200
    assert credentials.count > n_credentials, "a restored function asks for credentials of its own"


def test_what_every_copy_needs_is_in_the_snapshot(start_function: StartFunction) -> None:
    function = start_function(INFERENCE, SNAP_START)
    assert function.api.is_snapshot_ready.wait(ANSWER_SECONDS), function.log_text()
    process = psutil.Process(function.process.pid)
    in_snapshot = process.children()
    function.api.may_restore.set()
    body = {"messages": CAPITAL, "response_format": {"type": "json_object"}, "max_tokens": 5}
    response = function.request(http_api_event("POST", CHAT, body))
    assert response.status == 200
    assert len(in_snapshot) == 1, "the process that tries grammars out"
    assert process.children() == in_snapshot


def test_two_copies_have_ids_and_seeds_of_their_own(start_function: StartFunction) -> None:
    environ = {**SNAP_START, "PYTHONPATH": f"{TASK_ROOT}:{ROOT}"}
    copies = [start_function(PROBE, environ) for _ in range(2)]
    body = {"messages": user("Tell me a story"), "max_tokens": 40}
    stories, drawn = [], []
    for copy in copies:
        restore(copy)
        drawn.append(copy.api.invoke({"probe": True}).response["random"])
        stories.append(copy.request(http_api_event("POST", CHAT, body)))
    one, two = (story.json() for story in stories)
    assert drawn[0] != drawn[1]
    assert random.Random(0).random() not in drawn
    assert one["id"] != two["id"]
    assert one["choices"][0]["message"] != two["choices"][0]["message"]
    assert stories[0].headers["x-request-id"] != stories[1].headers["x-request-id"]


def test_api_function_is_restored(start_function: StartFunction, stored_in: dict[str, str]) -> None:
    function = start_function(API, {**stored_in, **SNAP_START})
    restore(function)
    assert function.request(NOTHING).status == 200


def test_a_model_that_can_not_be_loaded_keeps_the_snapshot_from_being_taken(
    start_function: StartFunction, s3: S3Server
) -> None:
    environ = {"PILOTLIGHT_MODEL": f"s3://{BUCKET}/none.gguf", **s3_environment(s3.url)}
    function = start_function(INFERENCE, {**environ, **SNAP_START})
    assert function.wait() == 1
    assert "key 'none.gguf' of bucket 'models' from S3: no such key" in function.log_text()
    assert "Traceback" not in function.log_text()
    assert not function.api.is_snapshot_ready.is_set()


def test_two_copies_of_the_same_memory_draw_different_numbers() -> None:
    done = subprocess.run(
        [PYTHON, "-m", "tests.aws_lambda.copies"],
        cwd=TASK_ROOT,
        env=environment({"PYTHONPATH": f"{TASK_ROOT}:{ROOT}"}),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    one, two = (json.loads(line) for line in done.stdout.splitlines())
    assert one.pop("has_new_clients")
    assert two.pop("has_new_clients")
    assert one.keys() == two.keys() == {"id", "request_id", "seed", "random"}
    assert not one.items() & two.items()
