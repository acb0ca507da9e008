"""Functions under Lambda's real runtime client, and AWS's services by moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.aws_lambda.function import API, INFERENCE, MARGIN, NEW_INTERPRETER, Function
from tests.aws_lambda.runtime_api import RuntimeApi
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import moto_server

StartFunction = Callable[..., Function]


@pytest.fixture(scope="session")
def aws(stand_ins: None) -> Iterator[Aws]:
    """A table and a bucket for all functions."""
    with moto_server() as url:
        aws = Aws.fresh(url)
        with closing(aws.store()) as store:
            store.initialize()
        yield aws


@pytest.fixture(scope="session")
def stored_in(aws: Aws) -> dict[str, str]:
    """What makes functions store completions there."""
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "PILOTLIGHT_STORE": f"dynamodb:{aws.table},{aws.bucket}",
    }


@pytest.fixture(scope="session")
def start_shared(
    processes: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartFunction]:
    """Starts functions that tests share."""
    with ExitStack() as stack:
        yield _starter(tmp_path_factory.mktemp("functions"), stack)


@pytest.fixture
def start_function(processes: None, tmp_path: Path) -> Iterator[StartFunction]:
    """Starts functions with an environment of the test's own; they end with it."""
    with ExitStack() as stack:
        yield _starter(tmp_path, stack)


def _starter(directory: Path, stack: ExitStack) -> StartFunction:
    numbers = iter(range(1000))

    def start(
        handler: str = INFERENCE, environ: Mapping[str, str] | None = None, **options: object
    ) -> Function:
        api = stack.enter_context(RuntimeApi().serving())
        log = directory / f"function-{next(numbers)}.log"
        function = Function(log, handler, environ, api=api, **options)  # type: ignore[arg-type]
        stack.callback(function.stop)
        return function

    return start


@pytest.fixture(scope="session")
def inference(start_shared: StartFunction, stored_in: dict[str, str]) -> Function:
    """InferenceFunction with the built-in model."""
    environ = {**stored_in, "PILOTLIGHT_DEADLINE_MARGIN": f"{MARGIN}"}
    return start_shared(INFERENCE, environ, launcher=NEW_INTERPRETER)


@pytest.fixture(scope="session")
def api_function(start_shared: StartFunction, stored_in: dict[str, str]) -> Function:
    """ApiFunction, with the same store."""
    environ = {**stored_in, "PILOTLIGHT_ALIAS": "lamp,torch"}
    return start_shared(API, environ, launcher=NEW_INTERPRETER)
