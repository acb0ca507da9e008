"""Draft models: the same answers in fewer steps, and what can't be one is refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.models.errors import ModelSourceError
from tests.api.conformance import shows
from tests.api.conftest import StartServer
from tests.engine.speculation.speculation_cases import let_any_draft_pay
from tests.models.recurrent_models import write_mamba
from tests.models.sentencepiece import write_sentencepiece
from tests.server import Server, user


@pytest.fixture
def _drafting_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    let_any_draft_pay(monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("_drafting_is_free")
def test_answers_are_the_same(server: Server, start_server: StartServer) -> None:
    drafting = start_server("-md", "builtin", "-np", "2")
    asked = {"temperature": 0, "max_tokens": 60, "timings_per_token": True}
    expected = server.chat(messages=user("Count from 1 to 20"), **asked).json()
    found = drafting.chat(messages=user("Count from 1 to 20"), **asked).json()
    assert found["choices"] == expected["choices"]
    timings = found["timings"]
    assert 40 < timings["draft_n_accepted"] <= timings["draft_n"]
    details = found["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] == details["rejected_prediction_tokens"] == 0


LIMITS = ("speculative.n_max", "speculative.n_min", "speculative.p_min")


@pytest.mark.slow
@pytest.mark.usefixtures("_drafting_is_free")
@shows("chat.request+ text.request+", *LIMITS)
def test_a_request_says_how_long_its_drafts_are(start_server: StartServer) -> None:
    server = start_server("-md", "builtin", "-np", "2", "--spec-draft-n-max", "4")
    prompt = "<|im_start|>user\nCount from 1 to 20<|im_end|>\n<|im_start|>assistant\n"
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": user("Count from 1 to 20")},
        "/v1/completions": {"prompt": prompt},
        "/completion": {"prompt": prompt},
    }
    answers = set()
    for path, body in bodies.items():

        def drafted(path: str = path, body: dict[str, Any] = body, **limits: float) -> int:
            asked = {**body, "temperature": 0, "max_tokens": 61, "timings_per_token": True}
            asked |= {f"speculative.{name}": value for name, value in limits.items()}
            response = server.post(path, asked).raise_for_status()
            assert "x-ignored-params" not in response.headers
            choice = response.json()["choices"][0]
            answers.add(choice["message"]["content"] if "message" in choice else choice["text"])
            return int(response.json()["timings"].get("draft_n", 0))

        drafted()  # the draft model has cells of the prompt from now on
        assert drafted() == drafted(n_max=100) > 40
        assert drafted(n_max=0) == drafted(n_min=5) == 0
        assert 20 < drafted(n_max=1) <= 30
        assert drafted(n_min=4) % 4 == 0
        assert drafted(p_min=1) < drafted()
    assert len(answers) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/completion"])
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-1, 2**31, "1"])
def test_what_is_no_limit_is_refused(server: Server, path: str, name: str, value: Any) -> None:
    response = server.post(path, {"messages": user("Hi"), "prompt": "Hi", name: value})
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert error["code"] == ("invalid_type" if value == "1" else "invalid_value")


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        ((), "speculative.p_min"),
        (("--spec-type", "none"), ", ".join(LIMITS)),
        (("--model-draft", "builtin"), None),
    ],
)
def test_limits_of_what_there_is_not_are_named(
    start_server: StartServer, options: tuple[str, ...], ignored: str | None
) -> None:
    server = start_server(*options)
    limits: dict[str, Any] = {"speculative.n_max": 2, "speculative.n_min": 1}
    limits["speculative.p_min"] = 0.5
    response = server.chat(messages=user("Hi"), max_tokens=1, **limits)
    assert response.headers.get("x-ignored-params") == ignored


@pytest.mark.parametrize("value", [None, 0])
def test_asking_for_no_drafts_is_obeyed_anywhere(start_server: StartServer, value: Any) -> None:
    server = start_server("--spec-type", "none")
    response = server.chat(messages=user("Hi"), max_tokens=1, **dict.fromkeys(LIMITS, value))
    assert "x-ignored-params" not in response.headers


def test_other_dialects_take_them_along(server: Server) -> None:
    limits = {"speculative.n_max": 2, "speculative.n_min": 2**31}
    for path, body in {
        "/v1/responses": {"input": "Hi", "max_output_tokens": 16},
        "/v1/messages": {"messages": user("Hi"), "max_tokens": 1},
    }.items():
        refused = server.post(path, {**body, **limits})
        assert (refused.status_code, "speculative.n_min" in refused.text) == (400, True)
        taken = server.post(path, {**body, "speculative.n_max": 2}).raise_for_status()
        assert "x-ignored-params" not in taken.headers


def test_a_file_that_is_missing_is_named(start_server: StartServer) -> None:
    with pytest.raises(ModelSourceError) as caught:
        start_server("--model-draft", "/nowhere/draft.gguf")
    assert str(caught.value) == (
        "can't use the draft model /nowhere/draft.gguf: no such model file: /nowhere/draft.gguf"
    )


@pytest.mark.slow
def test_other_vocabularies_are_refused(start_server: StartServer, tmp_path: Path) -> None:
    other = write_sentencepiece(tmp_path / "other.gguf", "llama")
    with pytest.raises(ModelSourceError) as caught:
        start_server("--model-draft", f"{other}")
    assert str(caught.value) == (
        f"can't use the draft model {other}: its vocabulary is not that of the model that it "
        "drafts for: it is of another type"
    )


@pytest.mark.slow
def test_recurrent_models_are_refused(start_server: StartServer, tmp_path: Path) -> None:
    mamba = write_mamba(tmp_path / "mamba.gguf")
    with pytest.raises(ModelSourceError, match="it has a recurrent state, which can't be cut back"):
        start_server("--model-draft", f"{mamba}")


def test_a_file_that_is_no_model_is_refused(start_server: StartServer, tmp_path: Path) -> None:
    damaged = tmp_path / "draft.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelSourceError, match=f"can't use the draft model {damaged}: "):
        start_server("--model-draft", f"{damaged}")
