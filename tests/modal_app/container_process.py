"""A process that lives as a container of Modal does, and clients for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from select import select

import httpx2
from openai import AsyncOpenAI, OpenAI

from tests.modal_app.control_plane import ROOT
from tests.modal_app.variables import KEY, KEY_HASH, environment
from tests.ports import free_port
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
        readable, writable = os.pipe()
        with self.log.open("wb") as output, os.fdopen(readable, "rb") as ready:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.modal_app.run_container"),
                    *(class_name, str(port), str(writable)),
                ],
                cwd=ROOT,
                env=environment(
                    {
                        "PILOTLIGHT_API_KEY_HASH": KEY_HASH,
                        "PILOTLIGHT_DATA_DIR": str(directory),
                        "PILOTLIGHT_MODEL_CACHE": str(directory / "models"),
                        **variables,
                    }
                ),
                stdout=output,
                stderr=output,
                pass_fds=[writable],
            )
            os.close(writable)
            try:
                select([ready], [], [], STOP_SECONDS)
                assert ready.read1(1), f"the container ended:\n{self.text()}"
                assert self.http.get("/health").status_code == 200
            except BaseException:
                self.kill()
                raise

    def client(self) -> OpenAI:
        """The real client, with a key."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=300)

    def async_client(self) -> AsyncOpenAI:
        """The real asynchronous client, with a key."""
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=300)

    def stop(self, number: signal.Signals) -> None:
        """Send a signal, and no more."""
        self.process.send_signal(number)

    def wait(self) -> str:
        """All that it printed and logged, once it has ended."""
        self.process.wait(STOP_SECONDS)
        return self.text()

    def text(self) -> str:
        """What it printed and logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End the process by force."""
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


StartContainer = Callable[..., ContainerProcess]
