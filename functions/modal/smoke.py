"""Tries a deployment, as its users would: ``modal run modal_app.py``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from functions.modal.deployment import Deployment

if TYPE_CHECKING:
    from openai import OpenAI

_QUESTION = "What is the capital of France?"
_COLD_START_SECONDS = 1200.0
_RETRIES = 8
"""Of the client, with its growing pauses: the server door refuses requests during a cold start."""


class SmokeTestError(Exception):
    """The deployment does not do what it should; the message says what."""


def smoke_test(deployment: Deployment, *, url: str, api_url: str, key: str) -> None:
    """Try both functions and print what they do, and how long it takes.

    Without ``url`` and ``api_url`` Modal is asked for the deployed app's. ``key`` is an API key,
    else the environment's OPENAI_API_KEY. Raises `SmokeTestError`.
    """
    key = key or os.environ.get("OPENAI_API_KEY", "")
    if not key and not deployment.proxy_auth:
        raise SmokeTestError("set OPENAI_API_KEY to one of the deployment's keys, or pass --key")
    if not url:
        url, api_url = _deployed_urls(deployment)
    Smoke(_client(url, key)).inference(stores=deployment.stores)
    if api_url:
        Smoke(_client(api_url, key)).reading(stores=deployment.stores)


class Smoke:
    """Checks of one function; each prints a line, or raises `SmokeTestError`."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def inference(self, *, stores: bool) -> None:
        """The function with the model: health, chat, stream, and storing if it ``stores``."""
        _say(f"inference at {self._client.base_url}")
        cold = self._chat("first request (cold, unless a container ran)")
        warm = self._chat("second request (warm)")
        _say(f"  the first took {cold - warm:.2f} s longer")
        with _timed("health"):
            self._client.get("/health", cast_to=object)
        self._stream()
        if stores:
            self._store()
        else:
            _say("  storing: none, this deployment has PILOTLIGHT_STORE=none")

    def reading(self, *, stores: bool) -> None:
        """The function without a model: models, and what is stored."""
        _say(f"reading at {self._client.base_url}")
        with _timed("models"):
            names = [model.id for model in self._client.models.list()]
        _expect(bool(names), "no model is listed")
        if stores:
            with _timed("list of stored completions"):
                self._client.chat.completions.list(limit=1)

    def _chat(self, what: str) -> float:
        """Seconds that a short answer takes."""
        started = time.monotonic()
        with _timed(what) as notes:
            completion = self._client.chat.completions.create(
                model="", messages=[{"role": "user", "content": _QUESTION}], max_tokens=20
            )
            text = completion.choices[0].message.content or ""
            notes.append(repr(text))
        _expect(bool(text), "the answer is empty")
        return time.monotonic() - started

    def _stream(self) -> None:
        started = time.monotonic()
        first = 0.0
        n_events = 0
        with _timed("stream") as notes:
            stream = self._client.chat.completions.create(
                model="",
                messages=[{"role": "user", "content": "Tell me a story"}],
                max_tokens=64,
                stream=True,
            )
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    first = first or time.monotonic() - started
                    n_events += 1
            notes.append(f"{n_events} parts, the first after {first:.2f} s")
        _expect(n_events > 1, "the stream came in one part")

    def _store(self) -> None:
        completions = self._client.chat.completions
        with _timed("store, read, list, delete"):
            stored = completions.create(
                model="",
                messages=[{"role": "user", "content": _QUESTION}],
                max_tokens=20,
                store=True,
                metadata={"pilotlight": "smoke-test"},
            )
            found = completions.retrieve(stored.id)
            _expect(
                found.choices[0].message.content == stored.choices[0].message.content,
                "the stored completion is another",
            )
            listed = completions.list(metadata={"pilotlight": "smoke-test"}, order="desc")
            ids = [each.id for each in listed]
            completions.delete(stored.id)
        _expect(stored.id in ids, "the stored completion is not listed")


def _client(url: str, key: str) -> OpenAI:
    try:
        from openai import OpenAI
    except ImportError:
        raise SmokeTestError("the smoke test uses OpenAI's client: pip install openai") from None

    headers = {
        header: os.environ[name]
        for header, name in (("Modal-Key", "MODAL_KEY"), ("Modal-Secret", "MODAL_SECRET"))
        if name in os.environ
    }
    return OpenAI(
        base_url=f"{url.rstrip('/')}/v1",
        api_key=key or "unused",
        default_headers=headers,
        max_retries=_RETRIES,
        timeout=_COLD_START_SECONDS,
    )


def _deployed_urls(deployment: Deployment) -> tuple[str, str]:
    """Where the deployed app's functions are; raises `SmokeTestError` if there is none."""
    import modal

    name = deployment.app
    try:
        if deployment.door == "server":
            inference = modal.Server.from_name(name, "Inference").get_url()
        else:
            inference = modal.Cls.from_name(name, "Inference")().web.get_web_url()
        api = modal.Cls.from_name(name, "Api")().web.get_web_url()
    except modal.exception.NotFoundError as error:
        raise SmokeTestError(f"deploy first, by modal deploy modal_app.py: {error}") from None
    if not inference or not api:
        raise SmokeTestError(f"Modal names no URL of the app {name}")
    return inference, api


@contextmanager
def _timed(what: str) -> Iterator[list[str]]:
    """Say how long the block took, and what it noted; raises `SmokeTestError` for API errors."""
    from openai import OpenAIError

    notes: list[str] = []
    started = time.monotonic()
    try:
        yield notes
    except OpenAIError as error:
        raise SmokeTestError(f"{what}: {error}") from error
    _say(f"  {what}: {time.monotonic() - started:.2f} s{''.join(f', {note}' for note in notes)}")


def _expect(is_so: bool, problem: str) -> None:
    if not is_so:
        raise SmokeTestError(problem)


def _say(line: str) -> None:
    print(line, flush=True)
