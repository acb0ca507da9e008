"""docs/distillation.md: its commands run as they are printed, from an upstream to a model beside it."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.conftest import StartServer
from tests.page_reader import Reader
from tests.pages import examples
from tests.server import ServerProcess
from tests.upstreams.fake_upstream import Answer, FakeUpstream, completion, whole

_ROOT = Path(__file__).parents[2]
_SERVE = "pilotlight serve"
_SERVICE = "https://api.example.com/v1"
_CAPITALS = {
    **{"Austria": "Vienna", "Brazil": "Brasilia", "Canada": "Ottawa", "China": "Beijing"},
    **{"Denmark": "Copenhagen", "Egypt": "Cairo", "Finland": "Helsinki", "France": "Paris"},
    **{"Germany": "Berlin", "Greece": "Athens", "Ireland": "Dublin", "Italy": "Rome"},
    "Norway": "Oslo",
}
_TEST_SET = ["Austria", "Denmark", "Germany", "Italy"]


@pytest.fixture
def teacher() -> Iterator[FakeUpstream]:
    """The service with the large model. Three of its answers are of no use."""
    upstream = FakeUpstream()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(json.loads(upstream.received[-1].body))(reader, writer)

    upstream.answer = answer
    yield upstream
    upstream.stop()


def _answer(request: dict[str, Any]) -> Answer:
    match = re.fullmatch(r"What is the capital of (\w+)\?", request["messages"][-1]["content"])
    assert match
    country = match[1]
    if country == "India":
        return whole({"error": {"message": "No.", "code": "content_policy_violation"}}, 400)
    if country == "Japan":
        return whole(completion("Please ask something else."))
    answer = completion(f"The capital of {country} is {_CAPITALS.get(country, '')}.")
    if country == "Hungary":
        message = {"role": "assistant", "content": f"The capital of {country} is"}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": "length"}]
    return whole(answer)


def test_the_page_leads_from_an_upstream_to_a_model_beside_it(
    start_server: StartServer,
    teacher: FakeUpstream,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(tmp_path, tmp_path / "store", programs)
    monkeypatch.chdir(reader.directory)
    shutil.copy(BUILTIN_PATH, "student.gguf")  # stands for what was trained
    steps = [example for section in examples("distillation.md").values() for example in section]
    servers: list[ServerProcess] = []

    for example in steps:
        if example.code.startswith(_SERVE):
            for server in servers[-1:]:
                server.stop()
            servers.append(_serve(example.code, start_server, reader, tmp_path / "store"))
            if "client" in reader.names:
                reader.names["client"] = servers[-1].openai()
            continue
        code = example.at(servers[-1].url) if servers else example.code
        printed = reader.run(example.language, code.replace(_SERVICE, teacher.url))
        assert example.printed(printed), f"{code}\nprints\n{printed}\nnot\n{example.output}"

    assert (len(steps), len(servers)) == (13, 3)
    assert {json.loads(each.body)["model"] for each in teacher.received} == {
        "the-services-name-of-it"
    }
    assert not any(
        {"store", "metadata"} & json.loads(each.body).keys() for each in teacher.received
    )
    _check_the_training_set()
    answer = servers[-1].chat(model="student", messages=_question("France")).raise_for_status()
    assert answer.json()["choices"][0]["message"]["content"] == "The capital of France is Paris."


def _serve(code: str, start: StartServer, reader: Reader, store: Path) -> ServerProcess:
    """The page's server, on a free port."""
    arguments = shlex.split(code)[2:]
    environ = {
        "PILOTLIGHT_DATA_DIR": str(store),
        "PYTHONPATH": str(_ROOT),
        "TEACHER_API_KEY": reader.variable("TEACHER_API_KEY"),
    }
    return start(*arguments, environ=environ, directory=reader.directory)


def _check_the_training_set() -> None:
    """All good answers are in it, whole, and none that is set aside."""
    lines = Path("train.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {
        country: f"The capital of {country} is {capital}."
        for country, capital in _CAPITALS.items()
        if country not in _TEST_SET
    }
    assert [json.loads(line) for line in lines] == [
        {"messages": [*_question(country), {"role": "assistant", "content": answer}]}
        for country, answer in answers.items()
    ]


def _question(country: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": f"What is the capital of {country}?"},
    ]
