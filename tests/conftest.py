"""Real servers and real clients for the tests, and markers by the fixtures that a test asks for."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from openai import AsyncOpenAI, OpenAI

from shared.models.sources import BUILTIN_PATH
from tests.command_host import hosted_program
from tests.server import ServerProcess
from tests.sweeps import mark_exhaustive

if TYPE_CHECKING:
    from shared.engine.llama.model import Model
    from tests.storage.dynamodb.aws import Aws

# It would try constants of the modules that happen to be loaded: other ones in each run.
providers._get_local_constants = lambda: providers._local_constants
settings.register_profile("tests", deadline=None, derandomize=True)
settings.register_profile("quick", settings.get_profile("tests"), max_examples=10)
settings.load_profile("tests")
"""The same examples on every run, and as long as they take on a busy machine."""

API_KEY = "key-of-the-tests"
MAX_BODY_SIZE = 65536

KEYED = (
    *("--api-key", f"{API_KEY},another-key", "--alias", "lamp,torch"),
    *("--ctx-size", "512", "--n-predict", "20", "--max-body-size", str(MAX_BODY_SIZE)),
)
"""Options of `keyed_server`."""

StartServer = Callable[..., ServerProcess]

_POLL = re.compile(r"GET /(metrics|health|v1/models) (200|503) ")

MARKERS = {"processes": "e2e", "stand_ins": "integration"}
"""Fixtures, and how tests are marked that ask for them; others are marked as ``unit``."""
_SANDBOX = "sandbox.py"
"""The one program that the code under test starts wherever it runs."""

_servers: list[ServerProcess] = []
_unit_test: list[str] = []
"""The one that runs now, if it is one."""
_log_starts = pytest.StashKey[dict[Path, int]]()


def pytest_configure(config: pytest.Config) -> None:
    """Forget settings of somebody's own; few examples where what is exhaustive is left out."""
    for name in [name for name in os.environ if name.startswith("PILOTLIGHT_")]:
        del os.environ[name]
    if "not exhaustive" in config.option.markexpr:
        settings.load_profile("quick")


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it, or a fixture that it asks for, starts; and repetitions."""
    for item in items:
        if any(map(item.get_closest_marker, MARKERS.values())):
            continue  # set by a fixture's parameter, which asks for others while it runs
        names = set(getattr(item, "fixturenames", ()))
        names.update(*(mark.args for mark in item.iter_markers("usefixtures")))
        found = (marker for fixture, marker in MARKERS.items() if fixture in names)
        item.add_marker(next(found, "unit"))
    mark_exhaustive([item for item in items if item.get_closest_marker("unit") is not None])


def pytest_collection() -> None:
    """Keep the garbage collector from going through all tests again and again."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but for what was collected as tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let no test that is marked as ``unit`` start a process."""
    if item.get_closest_marker("unit") is not None:
        _unit_test.append(item.nodeid)
    try:
        return (yield)
    finally:
        _unit_test.clear()


def _refuse_processes(event: str, arguments: Sequence[object]) -> None:
    if event == "subprocess.Popen" and _unit_test and _SANDBOX not in str(arguments[1]):
        raise RuntimeError(f"{_unit_test[0]} starts a process: have it use the fixture 'processes'")


sys.addaudithook(_refuse_processes)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note how long the servers' logs are, to show a failing test's part of them."""
    item.stash[_log_starts] = {server.log: server.log.stat().st_size for server in _servers}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers logged during a test that failed."""
    report = yield
    if report.failed:
        starts = item.stash.get(_log_starts, {})
        for server in _servers:
            lines = server.log_text(starts.get(server.log, 0)).splitlines(keepends=True)
            text = "".join(line for line in lines if not _POLL.search(line))
            if text:
                report.sections.append((f"log of {server.log.stem}", text[-20_000:]))
    return report


def _start(log: Path, *arguments: str, **options: Any) -> ServerProcess:
    server = ServerProcess(log, *arguments, **options)
    _servers.append(server)
    return server


def _end(server: ServerProcess) -> None:
    server.stop()
    _servers.remove(server)


@pytest.fixture(scope="session")
def processes() -> None:
    """Asked for by whatever starts processes; see `MARKERS`."""


@pytest.fixture(scope="session")
def stand_ins() -> None:
    """Asked for by whatever serves in the place of AWS, in this process; see `MARKERS`."""


@pytest.fixture(scope="session")
def log_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers log."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def server(processes: None, log_directory: Path) -> Iterator[ServerProcess]:
    """The server with the built-in model and default settings."""
    server = _start(log_directory / "server.log", new_interpreter=True)
    yield server
    _end(server)


@pytest.fixture(scope="session")
def keyed_server(processes: None, log_directory: Path) -> Iterator[ServerProcess]:
    """A server with an API key, two names for the model, and small limits."""
    server = _start(log_directory / "keyed-server.log", *KEYED)
    yield server
    _end(server)


@pytest.fixture
def start_server(processes: None, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers with options of the test's own; they end with it.

    What is named is for `ServerProcess`: ``environ``, ``directory``, ``new_interpreter``.
    """
    started: list[ServerProcess] = []

    def start(*arguments: str, **options: Any) -> ServerProcess:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(_start(log, *arguments, **options))
        return started[-1]

    yield start
    for server in started:
        _end(server)


@pytest.fixture(scope="session")
def programs(processes: None) -> Iterator[Path]:
    """A directory for ``PATH`` with the program ``pilotlight``."""
    with hosted_program() as directory:
        yield directory


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[OpenAI]:
    """The real client."""
    with server.openai() as client:
        yield client


@pytest.fixture
def async_client(server: ServerProcess) -> AsyncOpenAI:
    """The real asynchronous client; the test closes it on its own loop."""
    return server.async_openai()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def vocabulary() -> Iterator[Model]:
    """The built-in model's vocabulary, to know token ids."""
    from shared.engine.llama.model import Model  # not every test needs llama.cpp

    model = Model(BUILTIN_PATH)
    yield model
    model.close()


@pytest.fixture(scope="session")
def moto_url(stand_ins: None) -> Iterator[str]:
    """moto's server, for all tests that need one."""
    from tests.storage.dynamodb.moto_server import moto_server  # which takes a second

    with moto_server() as url:
        yield url


@pytest.fixture(scope="session")
def shared_aws(moto_url: str) -> Aws:
    """A table and a bucket that the tests of all stores share."""
    from tests.storage.dynamodb.aws import Aws

    aws = Aws.fresh(moto_url)
    with closing(aws.store()) as store:
        store.initialize()
    return aws
