"""A process that lives as a container of Modal does, and clients for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import httpx2
from openai import AsyncOpenAI, OpenAI

from tests.modal_app.run_container import live
from tests.modal_app.variables import KEY, KEY_HASH, environment
from tests.ports import free_port
from tests.processes import PROCESSES
from tests.server import STOP_SECONDS


class ContainerProcess:
    """One container. What it prints and logs goes to one file."""

    def __init__(self, directory: Path, class_name: str, variables: Mapping[str, str]) -> None:
        """Start it and wait until it answers."""
        directory.mkdir()
        self.log = directory / "log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {KEY}"},
            limits=httpx2.Limits(max_keepalive_connections=0),
            timeout=STOP_SECONDS,
        )
        """For requests that are none of the real client's, with a key."""
        variables = {
            "PILOTLIGHT_API_KEY_HASH": KEY_HASH,
            "PILOTLIGHT_DATA_DIR": str(directory),
            "PILOTLIGHT_MODEL_CACHE": str(directory / "models"),
            **variables,
        }
        is_ready, ready = PROCESSES.Pipe(duplex=False)
        self.process = PROCESSES.Process(
            target=live, args=(class_name, port, ready, environment(variables), self.log)
        )
        with patch.dict(os.environ, environment({}), clear=True):  # which Modal reads early
            self.process.start()
        ready.close()
        try:
            with is_ready:
                self._await(is_ready)
            assert self.http.get("/health").status_code == 200
        except BaseException:
            self.kill()
            raise

    def _await(self, is_ready: Connection) -> None:
        """Wait until it takes requests."""
        try:
            assert is_ready.poll(STOP_SECONDS), self.text()
            is_ready.recv()
        except EOFError:
            raise AssertionError(f"the container ended:\n{self.wait()}") from None

    def client(self) -> OpenAI:
        """The real client, with a key."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=300)

    def async_client(self) -> AsyncOpenAI:
        """The real asynchronous client, with a key."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=300)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal, and no more."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> str:
        """All that it printed and logged, once it has ended."""
        self.process.join(STOP_SECONDS)
        assert self.process.exitcode is not None
        return self.text()

    def text(self) -> str:
        """What it printed and logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End the process by force."""
        self.http.close()
        self.process.kill()
        self.process.join()


StartContainer = Callable[..., ContainerProcess]
