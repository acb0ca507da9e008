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
_METADATA = {"pilotlight": "smoke-test"}
_COLD_START_SECONDS = 1200.0
_RETRIES = 8
"""Of the client, with growing pauses: the server handler refuses requests during a cold start."""


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
        url, api_url = deployed_urls(deployment)
    inference = _client(url, key)
    reading = _client(api_url, key) if api_url else inference
    # Reading comes first: it wakes no GPU, so that the first completion is a cold one.
    model = try_reading(reading, stores=deployment.stores)
    try_inference(inference, model, stores=deployment.stores)


def try_reading(client: OpenAI, *, stores: bool) -> str:
    """List models and what is stored; returns the model's name. Raises `SmokeTestError`."""
    _say(f"reading at {client.base_url}")
    with _timed("health"):
        client.get("/health", cast_to=object)
    with _timed("models"):
        names = [model.id for model in client.models.list()]
    _expect(bool(names), "no model is listed")
    if stores:
        with _timed("list of stored completions"):
            client.chat.completions.list(limit=1)
    return names[0]


def try_inference(client: OpenAI, model: str, *, stores: bool) -> None:
    """Chat, health, stream, and store if the deployment ``stores``; raises `SmokeTestError`."""
    _say(f"inference of {model} at {client.base_url}")
    cold = _chat(client, model, "first request (cold, unless a container ran)")
    warm = _chat(client, model, "second request (warm)")
    _say(f"  the first took {cold - warm:.2f} s longer")
    with _timed("health"):
        client.get("/health", cast_to=object)
    _stream(client, model)
    if stores:
        _store(client, model)
    else:
        _say("  store: not tried, this deployment has PILOTLIGHT_STORE=none")


def _chat(client: OpenAI, model: str, what: str) -> float:
    """Seconds that a short answer takes."""
    started = time.monotonic()
    with _timed(what) as notes:
        completion = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": _QUESTION}], max_tokens=20
        )
        text = completion.choices[0].message.content or ""
        notes.append(repr(text))
    _expect(bool(text), "the answer is empty")
    return time.monotonic() - started


def _stream(client: OpenAI, model: str) -> None:
    started = time.monotonic()
    first = 0.0
    n_parts = 0
    with _timed("stream") as notes:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Tell me a story"}],
            max_tokens=64,
            stream=True,
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.monotonic() - started
                n_parts += 1
        notes.append(f"{n_parts} parts, the first after {first:.2f} s")
    _expect(n_parts > 1, "the stream came in one part")


def _store(client: OpenAI, model: str) -> None:
    completions = client.chat.completions
    with _timed("store, read, list, delete"):
        stored = completions.create(
            model=model,
            messages=[{"role": "user", "content": _QUESTION}],
            max_tokens=20,
            store=True,
            metadata=_METADATA,
        )
        found = completions.retrieve(stored.id)
        listed = completions.list(metadata=_METADATA, order="desc", limit=100)
        is_listed = any(each.id == stored.id for each in listed.data)
        completions.delete(stored.id)
    text = stored.choices[0].message.content
    _expect(found.choices[0].message.content == text, "the stored completion is another")
    _expect(is_listed, "the stored completion is not listed")


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


def deployed_urls(deployment: Deployment) -> tuple[str, str]:
    """Where the deployed app's functions are; raises `SmokeTestError` if there is none."""
    import modal

    name = deployment.app
    try:
        if deployment.handler == "server":
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
