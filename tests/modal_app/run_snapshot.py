"""Simulates a snapshot: ``python -m tests.modal_app.run_snapshot fork|repeat``.

Prepares an `InferenceContainer`, then starts two copies of it and prints a line of JSON for each.

``fork``: real copies, by fork. That needs a process without threads, as one is whose snapshot
holds no model (its engine, and OpenMP, have threads). ``repeat``: the same object is started twice,
with `random`'s state as it was, as two restored processes would have it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
from typing import Any

import httpx2
from starlette.types import ASGIApp

from functions.modal.container import InferenceContainer
from functions.modal.deployment import Deployment
from tests.modal_app.variables import CAPITAL, KEY

MODEL = "pilotlight-builtin"


def main(way: str) -> None:
    """Prepare, copy, and report."""
    container = InferenceContainer(Deployment.from_environment())
    container.prepare()
    if way == "fork":
        names = {thread.name for thread in threading.enumerate()}
        assert names == {"MainThread"}, f"threads can't be forked: {names}"
        for number in range(2):
            if os.fork() == 0:
                report(container, number)
                os._exit(0)
        for _ in range(2):
            _, status = os.wait()
            assert status == 0
        return
    state = random.getstate()
    for number in range(2):
        random.setstate(state)
        report(container, number)
    os._exit(0)  # the copies share one engine, whose end the first app would bring about


def report(container: InferenceContainer, number: int) -> None:
    """Start a copy, as restored elsewhere and later, use it, and print what it is like."""
    os.environ["AWS_ACCESS_KEY_ID"] = f"copy-{number}"  # Modal updates the environment
    container.start()
    line = json.dumps(asyncio.run(used(container, container.asgi()))) + "\n"
    os.write(sys.stdout.fileno(), line.encode())  # at once: the copies share the pipe


async def used(container: InferenceContainer, app: ASGIApp) -> dict[str, Any]:
    """Answers, ids and randomness of one copy, which also asks AWS to store something."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://test",
        headers={"authorization": f"Bearer {KEY}"},
        timeout=300,
    ) as client:

        async def chat(**fields: Any) -> httpx2.Response:
            body = {"model": MODEL, "messages": CAPITAL, "max_tokens": 30, **fields}
            return await client.post("/v1/chat/completions", json=body)

        certain = await chat(temperature=0)
        varied = await chat(temperature=2, ignore_eos=True)
        stored = await chat(store=True)
        return {
            "answer": certain.json()["choices"][0]["message"]["content"],
            "varied": varied.json()["choices"][0]["message"]["content"],
            "id": certain.json()["id"],
            "request_id": certain.headers["x-request-id"],
            "random": random.random(),
            "is_stored": stored.headers["x-stored"],
        }


if __name__ == "__main__":
    main(sys.argv[1])
