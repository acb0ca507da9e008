"""A server to ask, as a real `pilotlight serve` process, and bounded waits for what it shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import httpx2
from openai import AsyncOpenAI, OpenAI

from tests.forked_program import COMMAND, ForkedProgram, Program

START_SECONDS = 300.0
"""Far more than a start takes: only a hang should reach it."""
STOP_SECONDS = 300.0
_POLL_SECONDS = 0.01

_URL = re.compile(r"serves (?P<model>.+) at (?P<url>http://\S+)")
_WELCOME_END = "Press Ctrl-C to stop."


def command(*arguments: str) -> list[str]:
    """``pilotlight ARGUMENTS`` as this interpreter runs it."""
    return [sys.executable, "-m", COMMAND, *arguments]


def start_interpreter(
    module: str,
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    directory: Path | None = None,
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    """As `ForkedProgram`, in a new interpreter."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environ,
        cwd=directory,
    )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of somebody's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PILOTLIGHT_")}
    return {**kept, **(extra or {})}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Ask until ``condition`` holds.

    The pause leaves the processor to what is waited for: without one, two tests of shutdown take 23 s
    of processor time instead of 17 s.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(_POLL_SECONDS)


class Server(ABC):
    """A server to ask. Its log is a file, and what it stores is in ``data_directory``."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.data_directory = log.parent / log.stem
        self.environ = {"PILOTLIGHT_DATA_DIR": str(self.data_directory)}
        self.model = ""
        self.url = ""
        self.http: httpx2.Client

    @abstractmethod
    def transport(self) -> httpx2.BaseTransport | None:
        """Where clients send requests; None for what ``url`` says."""

    @abstractmethod
    def async_transport(self) -> httpx2.AsyncBaseTransport | None:
        """As `transport`."""

    @abstractmethod
    def stop(self) -> None:
        """End it, if need be by force."""

    def client(self, **options: Any) -> httpx2.Client:
        """A client; ``options`` are `httpx2.Client`'s."""
        return httpx2.Client(
            **{"base_url": self.url, "transport": self.transport(), "timeout": 300, **options}
        )

    def openai(self, path: str = "/v1", **options: Any) -> OpenAI:
        """The real client; ``options`` are its own."""
        return OpenAI(
            base_url=f"{self.url}{path}",
            http_client=self.client(),
            **{"api_key": "unused", "max_retries": 0, **options},
        )

    def async_openai(self) -> AsyncOpenAI:
        """The real asynchronous client, to be closed on the event loop that uses it."""
        return AsyncOpenAI(
            base_url=f"{self.url}/v1",
            http_client=httpx2.AsyncClient(transport=self.async_transport(), timeout=300),
            api_key="unused",
            max_retries=0,
        )

    def log_text(self, start: int = 0) -> str:
        """The log from byte ``start`` on."""
        return self.log.read_bytes()[start:].decode("utf-8", "replace")

    def metric(self, name: str) -> float:
        """The value of ``pilotlight_NAME`` in ``/metrics``."""
        text = self.http.get("/metrics").raise_for_status().text
        match = re.search(rf"^pilotlight_{name} (\S+)$", text, re.MULTILINE)
        assert match, f"no metric {name}"
        return float(match[1])

    def is_idle(self) -> bool:
        """Whether no sequence is in the batch or waits for it."""
        return not self.metric("sequences_running") and not self.metric("sequences_waiting")

    def post(self, path: str, body: Any, **kwargs: Any) -> httpx2.Response:
        """POST a JSON body."""
        return self.http.post(path, json=body, **kwargs)

    def chat(self, **fields: Any) -> httpx2.Response:
        """POST a chat completion, about the capital of France unless ``messages`` are given."""
        return self.post("/v1/chat/completions", {"messages": CAPITAL, **fields})

    def text(self, **fields: Any) -> httpx2.Response:
        """POST a text completion."""
        return self.post("/v1/completions", {"prompt": "Once upon a time", **fields})


class ServerProcess(Server):
    """A process. What it prints for people is in `printed`."""

    def __init__(
        self,
        log: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        directory: Path | None = None,
        new_interpreter: bool = False,
    ) -> None:
        """Start ``pilotlight serve --port 0 ARGUMENTS`` and wait until it is healthy.

        ``directory`` is its working directory, by default this process's. ``new_interpreter``: it
        imports all that it needs itself.
        """
        super().__init__(log)
        self.printed = ""
        self._welcomed = threading.Event()
        start = start_interpreter if new_interpreter else ForkedProgram
        reading, writing = os.pipe()
        self._stdout = os.fdopen(reading)
        with log.open("wb") as stderr, open(writing, "wb") as stdout:
            self.process: Program = start(
                COMMAND,
                ("serve", "--port", "0", *arguments),
                environ=environment({**self.environ, **(environ or {})}),
                directory=directory,
                stdout=stdout,
                stderr=stderr,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._await_start()
        except BaseException:
            self.kill()
            raise
        self.http = self.client()

    def _read(self) -> None:
        with self._stdout:
            for line in self._stdout:
                self.printed += line
                if line.startswith(_WELCOME_END):
                    self._welcomed.set()
        self._welcomed.set()

    def _await_start(self) -> None:
        self._welcomed.wait(START_SECONDS)
        match = _URL.search(self.printed)
        assert match, f"the server did not start; its log:\n{self.log_text()}"
        self.url, self.model = match["url"], match["model"]
        with httpx2.Client(base_url=self.url) as http:
            wait_until(lambda: http.get("/health").status_code == 200, "healthy")

    def transport(self) -> None:
        """Over sockets."""

    def async_transport(self) -> None:
        """Over sockets."""

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End the process, if need be by force."""
        self.http.close()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(STOP_SECONDS)

    def kill(self) -> None:
        """End the process by force."""
        self.process.kill()
        self.process.wait()


def user(content: str) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": content}]


@contextmanager
def running_stream(
    server: Server, max_tokens: int = 3000, n: int = 1, **fields: Any
) -> Iterator[Iterator[str]]:
    """A long answer that has begun; who leaves the context before its end hangs up."""
    body = {
        "messages": user("Tell me a story"),
        "ignore_eos": True,
        "max_tokens": max_tokens,
        "n": n,
        "stream": True,
        **fields,
    }
    with (
        server.client() as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        parts = response.iter_text()
        yield chain([next(parts)], parts)


CAPITAL = user("What is the capital of France?")
