"""``GET /slots``, llama-server's errors, and its sampling defaults of a server."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from shared.protocol.llama_cpp.responses import Slot
from tests.api.conftest import StartServer
from tests.app_server import AppServer
from tests.server import wait_until

TOO_LONG = "word " * 5000
STORY: dict[str, Any] = {
    "prompt": "A secret story:",
    "n_predict": 1900,
    "ignore_eos": True,
    "stream": True,
}


def slots(server: AppServer, key: str = "", **query: str) -> list[Slot]:
    headers = {"authorization": f"Bearer {key}"}
    answer = server.http.get("/slots", params=query, headers=headers).raise_for_status()
    return [Slot.model_validate(each, strict=True, extra="forbid") for each in answer.json()]


def test_slots_are_ones_own(start_server: StartServer) -> None:
    """Of others' requests it is told that they run; prompts and texts are told to nobody."""
    server = start_server("--api-key", "sk-one,sk-two", "--parallel", "1", "--ctx-size", "2048")
    (idle,) = slots(server, "sk-one")
    assert idle == Slot(id=0, n_ctx=2048, is_processing=False)
    assert server.http.get("/slots").status_code == 401
    headers = {"authorization": "Bearer sk-one"}
    with server.http.stream("POST", "/completion", json=STORY, headers=headers) as story:
        lines = story.iter_lines()
        next(lines)
        (mine,), (theirs,) = slots(server, "sk-one"), slots(server, "sk-two")
        full = server.http.get("/slots?fail_on_no_slot=1", headers=headers)
        raw = server.http.get("/slots", headers=headers).text
    assert theirs == Slot(id=0, n_ctx=2048, is_processing=True)
    assert mine.n_prompt_tokens == mine.n_prompt_tokens_processed
    assert mine.next_token is not None
    assert mine.next_token[0].n_decoded >= 1
    assert mine.next_token[0].n_decoded + mine.next_token[0].n_remain == 1900
    assert mine.params is not None
    assert (mine.params["temperature"], mine.params["top_k"]) == (0.8, 40)
    assert "secret" not in raw
    assert (full.status_code, full.json()["error"]["type"]) == (503, "unavailable_error")
    wait_until(lambda: not slots(server, "sk-one")[0].is_processing, "an idle slot")


@pytest.mark.slow
def test_slots_say_whether_there_are_drafts(start_server: StartServer) -> None:
    server = start_server("--spec-type", "ngram-simple", "--parallel", "2")
    assert [slot.speculative for slot in slots(server)] == [True, True]


def test_slots_can_be_left_out(start_server: StartServer) -> None:
    server = start_server("--no-slots")
    answer = server.http.get("/slots")
    assert (answer.status_code, answer.json()["error"]["type"]) == (501, "not_supported_error")
    assert server.http.get("/props").json()["endpoint_slots"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/completion", {"prompt": TOO_LONG}, 400, "exceed_context_size_error"),
        ("/completions", {"prompt": TOO_LONG}, 400, "exceed_context_size_error"),
        ("/completion", {"prompt": 1.5}, 400, "invalid_request_error"),
        ("/tokenize", {}, 400, "invalid_request_error"),
        ("/completion", b"{", 400, "invalid_request_error"),
        ("/v1/completions", {"prompt": TOO_LONG}, 400, "invalid_request_error"),
    ],
)
def test_errors_have_llama_servers_types_on_its_paths(
    server: AppServer, path: str, body: Any, status: int, kind: str
) -> None:
    sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer: httpx2.Response = server.http.post(path, **sent)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind)
    if kind == "exceed_context_size_error":
        assert (error["n_prompt_tokens"], error["n_ctx"]) == (10_002, 4096)
        assert (error["param"], error["code"]) == ("prompt", "context_length_exceeded")
    else:
        assert error.keys() == {"message", "type", "param", "code"}


def test_a_servers_sampling_defaults(start_server: StartServer) -> None:
    """They hold for all endpoints and under any name; a request's own values win."""
    server = start_server(
        *("--seed", "7", "--temp", "0.25", "--top-k", "3", "--min-p", "0.5"),
        *("--alias", "small,s", "--any-model", "true"),
    )
    props = server.http.get("/props").json()["default_generation_settings"]["params"]
    assert (props["seed"], props["temperature"]) == (7, 0.25)
    assert (props["top_k"], props["min_p"], props["top_p"]) == (3, 0.5, 0.95)
    for model in ("small", "s", "whatever"):
        body = {"model": model, "prompt": "Once", "n_predict": 1, "top_k": 9}
        settings = server.http.post("/completion", json=body).json()["generation_settings"]
        assert (settings["seed"], settings["temperature"], settings["top_k"]) == (7, 0.25, 9)
    answers = [
        server.http.post("/v1/completions", json={"prompt": "A", "temperature": 2}).json()
        for _ in range(3)
    ]
    assert len({answer["choices"][0]["text"] for answer in answers}) == 1
    stored = server.chat(messages=[{"role": "user", "content": "Hi"}], store=True, max_tokens=1)
    kept = server.http.get(f"/v1/chat/completions/{stored.json()['id']}").json()
    assert (kept["seed"], kept["temperature"]) == (7, 0.25)


def test_post_sampling_probabilities(server: AppServer) -> None:
    """Of what the samplers leave, which adds up to one; greedily there is one token."""
    body = {"prompt": "A", "n_predict": 4, "n_probs": 5, "post_sampling_probs": True, "seed": 3}

    def entries(**fields: Any) -> list[dict[str, Any]]:
        answer = server.http.post("/completion", json={**body, **fields}).raise_for_status()
        assert answer.json()["generation_settings"]["post_sampling_probs"] is True
        found: list[dict[str, Any]] = answer.json()["completion_probabilities"]
        return found

    for fields, n_left in (
        ({"temperature": 1.5, "top_k": 4, "top_p": 1, "min_p": 0}, 4),
        ({"temperature": 0}, 1),
        ({"temperature": 1, "grammar": 'root ::= ("a" | "b")+', "top_k": 0, "top_p": 1}, None),
        ({"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}, 5),
        ({"temperature": 1, "mirostat": 2, "mirostat_tau": 0.1}, None),
        ({"temperature": 1, "xtc_probability": 1, "xtc_threshold": 0.001}, None),
    ):
        for entry in entries(**fields):
            top = entry["top_probs"]
            assert "logprob" not in entry
            assert "top_logprobs" not in entry
            assert n_left is None or len(top) == n_left
            assert [each["prob"] for each in top] == sorted(
                (each["prob"] for each in top), reverse=True
            )
            chances = {each["id"]: each["prob"] for each in top}
            assert chances.get(entry["id"], entry["prob"]) == entry["prob"] > 0
            if n_left is not None and n_left < 5:
                assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
    with server.http.stream("POST", "/completion", json={**body, "stream": True}) as stream:
        text = "".join(stream.iter_text())
    assert '"top_probs"' in text
    assert '"logprob"' not in text
