"""``/tokenize``, ``/detokenize``, ``/apply-template`` and ``/props``."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from shared.engine.llama.model import Model
from shared.protocol.llama_cpp.responses import Props
from tests.api.conftest import StartServer
from tests.api.llama_cpp import complete
from tests.conftest import API_KEY
from tests.server import CAPITAL, Server, user

PATHS = ["/tokenize", "/detokenize", "/apply-template"]


def ask(server: Server, path: str, **body: Any) -> Any:
    """The parsed answer."""
    return server.post(path, body).raise_for_status().json()


def refusal(server: Server, path: str, **body: Any) -> tuple[int, str, str]:
    """The status, ``param`` and ``code`` of an error."""
    response = server.post(path, body)
    error = response.json()["error"]
    return response.status_code, error["param"], error["code"]


class TestTokenize:
    """Text to tokens."""

    @pytest.mark.parametrize("text", ["Hello world", "", "你好, \n wörld", "x" * 20_000])
    def test_tokens_are_the_models(self, server: Server, vocabulary: Model, text: str) -> None:
        expected = vocabulary.tokenize(text, add_special=False)
        assert ask(server, "/tokenize", content=text) == {"tokens": expected}

    def test_control_tokens_are_read_unless_told_otherwise(
        self, server: Server, vocabulary: Model
    ) -> None:
        end = vocabulary.tokenize("<|im_end|>")
        assert len(end) == 1
        assert ask(server, "/tokenize", content="<|im_end|>")["tokens"] == end
        spelled = ask(server, "/tokenize", content="<|im_end|>", parse_special=False)["tokens"]
        assert len(spelled) > 1

    def test_texts_and_ids_are_put_together(self, server: Server) -> None:
        hello = ask(server, "/tokenize", content="Hello")["tokens"]
        assert ask(server, "/tokenize", content=["Hello", 5, "Hello"])["tokens"] == [
            *hello,
            5,
            *hello,
        ]

    @pytest.mark.parametrize("repeat", [1, 1000])
    def test_pieces_are_text_or_bytes(self, server: Server, repeat: int) -> None:
        pieces = ask(server, "/tokenize", content="Hello 你<|im_end|>" * repeat, with_pieces=True)
        spelled = [piece["piece"] for piece in pieces["tokens"]]
        assert spelled == ["Hello", " ", [0xE4], [0xBD], [0xA0], "<|im_end|>"] * repeat
        assert all(isinstance(piece["id"], int) for piece in pieces["tokens"])

    def test_pieces_are_not_looked_up_on_the_event_loop(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: set[str] = set()

        def piece(*_: object) -> str:
            threads.add(threading.current_thread().name.partition("_")[0])
            return "a"

        monkeypatch.setattr("functions.http.endpoints.tokens._piece", piece)
        ask(server, "/tokenize", content="Hello", with_pieces=True)
        assert threads == {"requests"}

    @pytest.mark.parametrize(
        ("body", "param", "code"),
        [
            ({}, "content", "missing_required_parameter"),
            ({"content": 5}, "content", "invalid_type"),
            ({"content": ["a", 1280]}, "content[1]", "invalid_value"),
            ({"content": "a", "with_pieces": 1}, "with_pieces", "invalid_type"),
            ({"content": "x" * (512 * 1024 + 1)}, "content", "content_too_large"),
        ],
    )
    def test_errors_name_the_field(
        self, server: Server, body: dict[str, Any], param: str, code: str
    ) -> None:
        assert refusal(server, "/tokenize", **body) == (400, param, code)


class TestDetokenize:
    """Tokens to text."""

    @pytest.mark.parametrize("text", ["Hello world", "你好", "<|im_end|>", "", "word " * 3000])
    def test_it_undoes_tokenize(self, server: Server, text: str) -> None:
        tokens = ask(server, "/tokenize", content=text)["tokens"]
        assert ask(server, "/detokenize", tokens=tokens) == {"content": text}

    def test_a_part_of_a_character_is_replaced(self, server: Server) -> None:
        tokens = ask(server, "/tokenize", content="你")["tokens"]
        assert ask(server, "/detokenize", tokens=tokens[:1]) == {"content": "\ufffd"}

    @pytest.mark.parametrize(
        ("body", "param", "code"),
        [
            ({}, "tokens", "missing_required_parameter"),
            ({"tokens": [1, 1280]}, "tokens[1]", "invalid_value"),
            ({"tokens": [-1]}, "tokens[0]", "invalid_value"),
            ({"tokens": ["a"]}, "tokens[0]", "invalid_type"),
        ],
    )
    def test_errors_name_the_field(
        self, server: Server, body: dict[str, Any], param: str, code: str
    ) -> None:
        assert refusal(server, "/detokenize", **body) == (400, param, code)


class TestApplyTemplate:
    """Messages to a prompt."""

    def test_a_completion_of_the_prompt_is_the_chats(self, server: Server) -> None:
        prompt = ask(server, "/apply-template", messages=CAPITAL)["prompt"]
        chat = server.chat(temperature=0).json()
        text = complete(server, prompt=prompt, n_predict=-1)
        assert text["content"] == chat["choices"][0]["message"]["content"]
        assert text["tokens_evaluated"] == chat["usage"]["prompt_tokens"]

    def test_variables_reach_the_template(self, server: Server) -> None:
        plain = ask(server, "/apply-template", messages=CAPITAL)["prompt"]
        thinking = ask(
            server,
            "/apply-template",
            messages=CAPITAL,
            chat_template_kwargs={"enable_thinking": True},
        )["prompt"]
        assert thinking == plain + "<think>\n"

    def test_errors_are_the_chats(self, server: Server) -> None:
        path = "/apply-template"
        assert refusal(server, path)[1:] == ("messages", "missing_required_parameter")
        assert refusal(server, path, messages=[{"role": "user"}])[1] == "messages[0].content"
        assert refusal(server, path, messages=CAPITAL, model="other")[0] == 404
        too_long = user("x" * (512 * 1024 + 1))
        assert refusal(server, path, messages=too_long) == (400, "messages", "content_too_large")


class TestProps:
    """What programs ask before they begin."""

    def test_the_model_is_described(self, server: Server, vocabulary: Model) -> None:
        answer = server.http.get("/props").raise_for_status().json()
        props = Props.model_validate(answer, strict=True, extra="forbid")
        assert props.chat_template == vocabulary.chat_template
        assert (props.bos_token, props.eos_token) == ("<|endoftext|>", "<|im_end|>")
        assert (props.model_alias, props.model_path) == (server.model, server.model)
        assert props.total_slots == 16
        assert props.default_generation_settings.n_ctx == 4096

    def test_defaults_are_those_of_a_completion(self, server: Server) -> None:
        defaults = server.http.get("/props").json()["default_generation_settings"]["params"]
        body = {"prompt": "a", "max_tokens": 1}
        settings = server.post("/completion", body).json()["generation_settings"]
        varying = {"seed_cur", "n_predict", "max_tokens"}
        assert settings.keys() == defaults.keys()
        assert {k: v for k, v in settings.items() if k not in varying} == {
            k: v for k, v in defaults.items() if k not in varying
        }
        assert defaults["n_predict"] == -1

    @pytest.mark.slow
    def test_a_models_own_defaults_are_among_them(self, start_server: StartServer) -> None:
        models = '{"lamp": {"temperature": 0.3, "n_predict": 9}}'
        server = start_server("--alias", "lamp", environ={"PILOTLIGHT_MODELS": models})
        params = server.http.get("/props").json()["default_generation_settings"]["params"]
        assert (params["temperature"], params["n_predict"], params["top_k"]) == (0.3, 9, 40)

    def test_they_cannot_be_changed(self, server: Server) -> None:
        response = server.post("/props", {})
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, HEAD"
        assert response.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", PATHS)
def test_fields_without_effect_are_named(server: Server, path: str) -> None:
    body = {"content": "a", "tokens": [1], "messages": CAPITAL}
    ignored = server.post(path, body).raise_for_status().headers["x-ignored-params"]
    needed = {"/tokenize": "content", "/detokenize": "tokens", "/apply-template": "messages"}
    assert set(ignored.split(", ")) == body.keys() - {needed[path]}


@pytest.mark.parametrize("path", [*PATHS, "/props"])
def test_a_key_is_needed_where_one_is_set(keyed_server: Server, path: str) -> None:
    method = "GET" if path == "/props" else "POST"
    without = keyed_server.http.request(method, path)
    with_key = keyed_server.http.request(
        method, path, headers={"authorization": f"Bearer {API_KEY}"}
    )
    assert without.status_code == 401
    assert with_key.status_code == (200 if path == "/props" else 400)


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/health"), ("GET", "/v1/health")])
def test_health_is_asked_in_llama_servers_ways(
    keyed_server: Server, method: str, path: str
) -> None:
    response = keyed_server.http.request(method, path)
    assert response.status_code == 200
    if method == "GET":
        assert response.json()["status"] == "ok"


@pytest.mark.slow
def test_the_documentation_describes_every_endpoint(server: Server) -> None:
    document = server.http.get("/openapi.json").json()
    assert {*PATHS, "/completion", "/props"} <= document["paths"].keys()
    schema = document["components"]["schemas"]["LlamaCppRequest"]
    assert {"prompt", "n_predict", "logit_bias"} <= schema["properties"].keys()
    operations = [o["operationId"] for path in document["paths"].values() for o in path.values()]
    assert len(set(operations)) == len(operations)
