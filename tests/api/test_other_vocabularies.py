"""Text completions with models that fill in, and with models whose texts begin with a token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.engine.llama.model import Model
from tests.app_server import AppServer
from tests.models.variant import write_variant
from tests.server import Server

BOS, BEFORE, AFTER, MIDDLE = 1271, 1276, 1277, 1278
"""Control and user-defined tokens of the built-in model, in roles that they don't have there."""


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose model has fill-in tokens and begins every text with a token."""
    directory = tmp_path_factory.mktemp("variant")
    metadata = {
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.fim_pre_token_id": BEFORE,
        "tokenizer.ggml.fim_suf_token_id": AFTER,
        "tokenizer.ggml.fim_mid_token_id": MIDDLE,
    }
    path = write_variant(directory / "variant.gguf", metadata)
    server = AppServer(directory / "server.log", "--model", str(path))
    yield server
    server.stop()


@pytest.mark.slow
def test_a_suffix_is_put_behind_the_prompt(other_server: Server, vocabulary: Model) -> None:
    beginning, ending = (
        vocabulary.tokenize(text, add_special=False) for text in ("Count from", " to 100")
    )
    spelled_out = [BOS, BEFORE, *beginning, AFTER, *ending, MIDDLE]
    expected = other_server.text(prompt=spelled_out, temperature=0, max_tokens=12).json()

    filled = other_server.text(
        prompt="Count from", suffix=" to 100", temperature=0, max_tokens=12
    ).json()

    assert filled["choices"][0]["text"] == expected["choices"][0]["text"]
    assert filled["usage"]["prompt_tokens"] == len(spelled_out)


@pytest.mark.slow
def test_a_suffix_counts_once_for_each_prompt(other_server: Server) -> None:
    prompts = {"prompt": ["a"] * 200, "max_tokens": 1}

    assert other_server.text(suffix="b" * 20, **prompts).status_code == 200

    response = other_server.text(suffix="b" * 4000, **prompts)  # 800 kB
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "suffix"
    assert response.json()["error"]["code"] == "content_too_large"


def test_echo_leaves_the_suffix_and_its_marks_out(other_server: Server) -> None:
    filled = other_server.text(
        prompt="Count from", suffix=" to", echo=True, temperature=0, max_tokens=4
    ).json()

    assert filled["choices"][0]["text"].startswith("Count from")
    assert "<tool_response>" not in filled["choices"][0]["text"]


def test_a_filled_in_prompt_has_no_scores(other_server: Server) -> None:
    response = other_server.text(prompt="a", suffix="b", echo=True, logprobs=1)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "suffix"


def test_the_beginning_of_the_text_is_scored_but_not_shown(
    other_server: Server, vocabulary: Model
) -> None:
    tokens = vocabulary.tokenize("Hello there", add_special=False)
    asked = {"echo": True, "logprobs": 0, "max_tokens": 0}

    from_text = other_server.text(prompt="Hello there", **asked).json()["choices"][0]
    from_ids = other_server.text(prompt=[BOS, *tokens], **asked).json()["choices"][0]

    for choice in (from_text, from_ids):
        logprobs = choice["logprobs"]
        assert choice["text"] == "Hello there"
        assert logprobs["tokens"][:2] == ["<|endoftext|>", "Hello"]
        assert logprobs["token_logprobs"][0] is None
        assert logprobs["token_logprobs"][1] < 0
        assert logprobs["text_offset"][:3] == [0, 0, 5]


def test_nothing_is_a_prompt_where_texts_begin_with_a_token(other_server: Server) -> None:
    response = other_server.text(prompt=None, max_tokens=2)

    assert response.status_code == 200
    assert response.json()["usage"]["prompt_tokens"] == 1
