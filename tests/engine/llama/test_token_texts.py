"""Texts of a vocabulary's tokens that are written at once, its control tokens and its ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared.engine.llama import token_texts as token_texts_module
from shared.engine.llama.bindings import lib
from shared.engine.llama.control_tokens import control_ids
from shared.engine.llama.model import Model
from shared.engine.llama.token_texts import token_texts
from shared.engine.llama.tokenizer import TokenArray, Tokenizer
from shared.models.sources import BUILTIN_PATH
from tests.models.sentencepiece import write_sentencepiece


@pytest.fixture(scope="module", params=["builtin", "sentencepiece", "phi-3"])
def any_model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Model]:
    """A model with each kind of vocabulary."""
    path = BUILTIN_PATH
    if request.param != "builtin":
        directory = tmp_path_factory.mktemp("vocabulary")
        path = write_sentencepiece(directory / "model.gguf", request.param)
    loaded = Model(path)
    yield loaded
    loaded.close()


def one_by_one(tokenizer: Tokenizer) -> list[bytes]:
    return [tokenizer.render(token, special=True) for token in range(tokenizer.n_vocab)]


@pytest.fixture
def n_rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that were asked for one by one."""
    asked: list[int] = []
    render = Tokenizer.render

    def count(self: Tokenizer, token: int, *, special: bool) -> bytes:
        asked.append(token)
        return render(self, token, special=special)

    monkeypatch.setattr(Tokenizer, "render", count)
    return asked


def test_they_are_what_each_token_is_written_as(any_model: Model) -> None:
    assert token_texts(any_model) == one_by_one(any_model)


def test_only_the_range_with_the_separator_is_asked_for_one_by_one(
    any_model: Model, monkeypatch: pytest.MonkeyPatch, n_rendered: list[int]
) -> None:
    monkeypatch.setattr(token_texts_module, "_RANGE", 8)

    token_texts(any_model)

    assert len(n_rendered) < 30 + any_model.n_vocab / 8
    assert any_model.eos in n_rendered


def test_without_a_separator_each_is_asked_for(
    model: Model, monkeypatch: pytest.MonkeyPatch, n_rendered: list[int]
) -> None:
    monkeypatch.setattr(model, "eos", -1)
    monkeypatch.setattr(model, "bos", -1)

    texts = token_texts(model)

    assert len(n_rendered) == model.n_vocab
    assert texts == one_by_one(model)


def test_blanks_that_a_tokenizer_takes_out_are_there(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp does it before punctuation, which this vocabulary has no such tokens of."""
    detokenize = Tokenizer.detokenize

    def cleaned(self: Tokenizer, tokens: TokenArray, *, special: bool) -> bytes:
        return re.sub(rb" ([a-z])", rb"\1", detokenize(self, tokens, special=special))

    expected = one_by_one(model)
    monkeypatch.setattr(Tokenizer, "detokenize", cleaned)
    assert any(re.search(rb" [a-z]", text) for text in expected)

    assert token_texts(model) == expected


def test_control_ids_are_all_that_have_the_attribute(any_model: Model) -> None:
    ids = [token for token in range(any_model.n_vocab) if any_model.is_control(token)]

    assert control_ids(any_model, token_texts(any_model)) == ids


def test_end_tokens_are_all_that_end_a_generation(any_model: Model) -> None:
    is_end = lib.llama_vocab_is_eog
    expected = [token for token in range(any_model.n_vocab) if is_end(any_model.vocab, token)]
    assert expected

    assert any_model.end_tokens.tolist() == expected


def test_end_tokens_are_not_looked_for_one_by_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    is_end: Any = lib.llama_vocab_is_eog

    def count(vocab: Any, token: int) -> bool:
        asked.append(token)
        return bool(is_end(vocab, token))

    expected = model.end_tokens.tolist()
    monkeypatch.setattr(lib, "llama_vocab_is_eog", count)
    monkeypatch.delitem(model.__dict__, "end_tokens")
    assert model.end_tokens.tolist() == expected
    assert len(asked) < 10

    monkeypatch.setattr(model, "logged_ends", ())  # a llama.cpp that logs them in another way
    monkeypatch.delitem(model.__dict__, "end_tokens")
    assert model.end_tokens.tolist() == expected
    assert len(asked) > model.n_vocab
