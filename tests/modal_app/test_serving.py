"""A container serves: its enter methods run, and OpenAI's client gets what it asks for."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import httpx2
import pytest
from openai import AsyncOpenAI, AsyncStream, Stream
from openai.types.chat import ChatCompletionChunk

from functions.modal.deployment import Deployment
from tests.modal_app.container_process import ContainerProcess, StartContainer
from tests.modal_app.control_plane import ROOT
from tests.modal_app.variables import CAPITAL, KEY_HASH, environment, user

MODEL = "pilotlight-builtin"
STREAMS = 32


@pytest.mark.parametrize("handler", ["asgi", "server"])
def test_both_handlers_answer_and_stream(start_container: StartContainer, handler: str) -> None:
    origin = "https://app.example.com"
    container = start_container(PILOTLIGHT_MODAL_HANDLER=handler, PILOTLIGHT_CORS_ORIGINS=origin)
    client = container.client()

    completion = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    stream: Stream[ChatCompletionChunk] = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, temperature=0, stream=True
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert "Paris" in (completion.choices[0].message.content or "")
    assert streamed == completion.choices[0].message.content
    refused = httpx2.get(f"{container.url}/v1/models", headers={"origin": origin})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == origin
    asked = {"origin": origin, "access-control-request-method": "POST"}
    preflight = httpx2.options(f"{container.url}/v1/chat/completions", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin


@pytest.mark.anyio
async def test_32_streams_run_in_one_batch(start_container: StartContainer) -> None:
    container = start_container(PILOTLIGHT_PARALLEL=str(STREAMS))

    async with container.async_client() as client:
        answers = await asyncio.gather(*(_counted(client) for _ in range(STREAMS)))

    assert len(set(answers)) == 1
    assert "2, 3, 4, 5" in answers[0]
    assert metric(container, "steps_total") < metric(container, "completion_tokens_total") / 4


@pytest.mark.anyio
async def test_as_many_long_prompts_as_modal_sends_are_taken(
    start_container: StartContainer,
) -> None:
    variables = {"PILOTLIGHT_PARALLEL": "2", "PILOTLIGHT_MAX_QUEUE": "4"}
    deployment = Deployment.from_environment({"PILOTLIGHT_API_KEY_HASH": KEY_HASH, **variables})
    container = start_container(**variables)

    async with container.async_client() as client:
        prompts = (f"{number} " * 400 for number in range(deployment.max_inputs))
        answers = await asyncio.gather(
            *(
                client.completions.create(
                    model=MODEL, prompt=p, max_tokens=1, extra_body={"ignore_eos": True}
                )
                for p in prompts
            )
        )

    assert [each.choices[0].finish_reason for each in answers] == ["length"] * len(answers)


def test_generation_ends_before_modal_ends_the_request(start_container: StartContainer) -> None:
    container = start_container(
        PILOTLIGHT_MODAL_TIMEOUT="10", PILOTLIGHT_DEADLINE_MARGIN="9.5", PILOTLIGHT_PARALLEL="1"
    )

    response = container.client().chat.completions.with_raw_response.create(
        model=MODEL, messages=user("Tell me a story"), extra_body={"ignore_eos": True}
    )

    assert response.headers["x-deadline"] == "reached"
    assert response.parse().choices[0].finish_reason == "length"


def test_the_function_without_a_model_lists_it_and_refuses_to_complete(
    start_container: StartContainer,
) -> None:
    container = start_container("Api", PILOTLIGHT_ALIAS="lamp", PILOTLIGHT_STORE="sqlite")
    client = container.client()

    names = [model.id for model in client.models.list()]
    stored = list(client.chat.completions.list())
    refused = container.http.post("/v1/chat/completions", json={"messages": CAPITAL})

    assert names == ["lamp"]
    assert stored == []
    assert refused.json()["error"]["code"] == "served_elsewhere"


async def _counted(client: AsyncOpenAI) -> str:
    stream: AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(
        model=MODEL, messages=user("Count from 1 to 100"), temperature=0, max_tokens=60, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    return "".join(parts)


def metric(container: ContainerProcess, name: str) -> float:
    """The value of ``pilotlight_NAME`` in ``/metrics``."""
    text = container.http.get("/metrics").raise_for_status().text
    match = re.search(rf"^pilotlight_{name} (\S+)$", text, re.MULTILINE)
    assert match, f"no metric {name}"
    return float(match[1])


@pytest.mark.usefixtures("processes")
def test_the_function_without_a_model_imports_no_engine() -> None:
    names = ("llama_cpp", "numpy", "llguidance", "huggingface_hub")
    code = (
        "import sys, modal_app\n"
        "from functions.modal.api_container import api_app\n"
        "api_app(modal_app.here)\n"
        f"print([name for name in {names} if name in sys.modules])"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment({"PILOTLIGHT_API_KEY_HASH": KEY_HASH}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.stdout == "[]\n", ended.stderr


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"PILOTLIGHT_MODEL": "/no/model.gguf"}, "no such model file: /no/model.gguf"),
        (
            {"PILOTLIGHT_API_KEY_HASH": "", "PILOTLIGHT_MODAL_API_KEY_SECRET": "empty"},
            "its Secret has no PILOTLIGHT_API_KEY_HASH",
        ),
    ],
)
@pytest.mark.usefixtures("processes")
def test_a_container_that_can_not_serve_says_why(
    start_container: StartContainer, variables: dict[str, str], problem: str
) -> None:
    with pytest.raises(AssertionError, match=problem):
        start_container(**variables)
