"""Storing respects what is left of a request's time, and never costs the answer."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.deadlines import (
    CHAT,
    LATE,
    LONG,
    SOON,
    TEXT,
    choice_of,
    id_of,
    post,
    server_with_deadlines,
)
from tests.server import wait_until

ENDPOINTS = [
    pytest.param("/v1/chat/completions", CHAT, id="chat"),
    pytest.param("/v1/completions", TEXT, id="text"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store's file."""
    return tmp_path_factory.mktemp("deadlines") / "completions.sqlite3"


@pytest.fixture(scope="module")
def http(database: Path) -> Iterator[httpx2.Client]:
    """A client of the server."""
    with server_with_deadlines(store=f"sqlite:{database}") as client:
        yield client


def stored(http: httpx2.Client, path: str, completion_id: str) -> httpx2.Response:
    """What the store has of a completion."""
    return http.get(f"{path}/{completion_id}")


@pytest.mark.slow
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_there_is_is_stored_as_a_complete_completion(
    http: httpx2.Client, path: str, body: dict[str, Any], stream: bool
) -> None:
    response = post(http, path, SOON, {**body, **LONG}, store=True, stream=stream)

    if stream:
        assert ": x-stored: false" not in response.text
    else:
        assert response.headers["x-stored"] == "true"
    kept = stored(http, path, id_of(response)).raise_for_status()
    assert choice_of(kept)["finish_reason"] == "length"
    assert 0 < kept.json()["usage"]["completion_tokens"] < 2000
    assert "incomplete" not in kept.json()
    if not stream:
        assert kept.json()["choices"] == response.json()["choices"]


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_store_that_blocks_does_not_hold_the_answer_until_the_platform_ends_it(
    http: httpx2.Client,
    database: Path,
    caplog: pytest.LogCaptureFixture,
    path: str,
    body: dict[str, Any],
) -> None:
    fields = {**body, "max_tokens": 4, "store": True}
    assert post(http, path, 60, fields).headers["x-stored"] == "true"
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as other,
        ThreadPoolExecutor() as threads,
        caplog.at_level(logging.INFO, "pilotlight.store"),
    ):
        other.execute("BEGIN IMMEDIATE")

        pending = [threads.submit(post, http, path, LATE, fields, stream=s) for s in (False, True)]
        whole, stream = (answer.result() for answer in pending)

        assert whole.headers["x-stored"] == "false"
        assert stream.text.endswith(": x-stored: false\n\ndata: [DONE]\n\n")
        ids = {id_of(whole), id_of(stream)}
        errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert all(any(i in error and "not stored" in error for error in errors) for i in ids)
        assert all(stored(http, path, i).status_code == 404 for i in ids)

        other.execute("ROLLBACK")
        wait_until(
            lambda: all(stored(http, path, i).status_code == 200 for i in ids), "stored after all"
        )
        wait_until(lambda: caplog.text.count("stored after all") == 2, "in the log")
    assert post(http, path, 60, fields).headers["x-stored"] == "true"


def test_a_write_that_fails_after_its_answer_is_in_the_log(
    http: httpx2.Client, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {**TEXT, "max_tokens": 4, "store": True}
    assert post(http, "/v1/completions", 60, fields).headers["x-stored"] == "true"
    with (
        closing(sqlite3.connect(database, isolation_level=None)) as other,
        caplog.at_level(logging.INFO, "pilotlight.store"),
    ):
        other.execute("BEGIN IMMEDIATE")

        answer = post(http, "/v1/completions", LATE, fields)
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON completions BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        other.execute("COMMIT")

        wait_until(
            lambda: http.get("/health").status_code == 200 and "full" in caplog.text, "it failed"
        )
        other.execute("DROP TRIGGER refuse")
    assert answer.headers["x-stored"] == "false"
    assert stored(http, "/v1/completions", id_of(answer)).status_code == 404
    assert post(http, "/v1/completions", 60, fields).headers["x-stored"] == "true"
