"""The failure drill: `docs/failure-drill.md` says what comes of each failure."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.drill_page import answer_problem, failures
from tests.aws_lambda.drill_tracks import TRACKS, Drill, Found
from tests.aws_lambda.streaming import StreamingServer
from tests.models.s3_server import S3Server
from tests.storage.dynamodb.aws import Aws


@pytest.fixture(scope="module")
def drill(
    processes: None, start_shared: StartFunction, aws: Aws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drill]:
    directory = tmp_path_factory.mktemp("drill")
    whole = BUILTIN_PATH.read_bytes()
    models, expired = S3Server(), S3Server()
    models.put("model.gguf", whole)
    models.put("text.gguf", b"This is no model.")
    models.put("cut.gguf", whole[: len(whole) // 2])
    models.denied.add("denied")
    expired.guard = lambda _: (400, "ExpiredToken", "The provided token has expired.", {})
    numbers = iter(range(1000))
    with ExitStack() as stack, models.serving(), expired.serving():

        def start_server(environ: dict[str, str]) -> StreamingServer:
            server = StreamingServer(directory / f"server-{next(numbers)}.log", environ)
            stack.callback(server.stop)
            return server

        yield Drill(start_shared, start_server, aws, models, expired, directory)


@pytest.fixture(scope="module")
def running(drill: Drill) -> Iterator[dict[str, Future[Found]]]:
    """All tracks at the same time."""
    with ThreadPoolExecutor(len(TRACKS)) as pool:
        yield {track.__name__: pool.submit(track, drill) for track in TRACKS}


@pytest.mark.parametrize(
    ("track", "key"),
    [
        pytest.param(track.__name__, key, id=f"{track.__name__}: {key[1]}")
        for track, keys in TRACKS.items()
        for key in sorted(keys)
    ],
)
def test_the_page_says_what_happens(
    running: dict[str, Future[Found]], track: str, key: tuple[str, str]
) -> None:
    outcomes = [outcome for found, outcome in running[track].result() if found == key]

    assert outcomes
    for outcome in outcomes:
        assert failures()[key].problems(outcome) == []
        assert answer_problem(outcome) is None


def test_the_page_has_all_failures(running: dict[str, Future[Found]]) -> None:
    driven = {key for track in running.values() for key, _ in track.result()}

    assert driven == set(failures())
