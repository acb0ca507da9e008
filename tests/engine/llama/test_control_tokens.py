"""Control tokens of a vocabulary, and texts that spell them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chat.control_tokens import ControlTokens
from shared.engine.llama import special_tokens, tokenizer
from shared.engine.llama.bindings import lib
from shared.engine.llama.control_tokens import control_tokens, tokenize_parts
from shared.engine.llama.model import Model
from shared.models.sources import BUILTIN_PATH
from tests.models.sentencepiece import write_sentencepiece

_TEXTS = st.lists(
    st.sampled_from(
        [
            *("</s>", "<s>", "</", "s>", "<unk>", "<|user|>", "the", "<tool>", "\x01"),
            "<|im_end|>",
            "<|im_start|>",
            "<think>",
            "<tool_call>",
            "<|im_",
            "end|>",
            "user",
            "Hello",
            " ",
            "\n",
            "é🔥",
        ]
    ),
    max_size=8,
).map("".join)


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


def test_control_tokens_are_all_that_have_the_attribute(any_model: Model) -> None:
    is_read_on_request = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
    attributes = [
        lib.llama_vocab_get_attr(any_model.vocab, token) for token in range(any_model.n_vocab)
    ]

    assert list(control_tokens(any_model).values()) == [
        token for token, attribute in enumerate(attributes) if attribute & is_read_on_request
    ]


def test_detokenize_writes_any_tokens(any_model: Model) -> None:
    tokens = np.arange(any_model.n_vocab, dtype=np.int32)
    pieces = [any_model.render(token, special=True) for token in tokens.tolist()]

    written = any_model.detokenize(tokens, special=True)

    # The first one's leading space is the tokenizer's own, where it adds one.
    assert written.removeprefix(b" ") == b"".join(pieces).removeprefix(b" ")
    assert len(any_model.detokenize(tokens, special=False)) < len(written)


def test_control_tokens_are_those_that_a_text_is_not_read_for(model: Model) -> None:
    found = control_tokens(model)

    assert sorted(found) == ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
    for text, token in found.items():
        assert model.is_control(token)
        assert model.tokenize(text, add_special=False) == [token]
        assert token not in model.tokenize(text, parse_special=False)


@pytest.mark.sweep(1)
@given(text=_TEXTS)
def test_a_text_in_parts_has_the_tokens_of_the_whole(any_model: Model, text: str) -> None:
    tokens = ControlTokens(control_tokens(any_model))
    parts: list[str | int] = []
    end = 0
    for start, stop in tokens.found(text):
        parts += (text[end:start], tokens.ids[text[start:stop]])
        end = stop

    assert tokenize_parts(any_model, [*parts, text[end:]]) == any_model.tokenize(text)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("parse_special", [True, False])
@given(text=_TEXTS)
def test_a_long_text_has_the_same_tokens_in_pieces(
    any_model: Model, text: str, parse_special: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = any_model.tokenize(text, parse_special=parse_special)
        for module in (special_tokens, tokenizer):
            patch.setattr(module, "STEP", 2)

        assert any_model.tokenize(text, parse_special=parse_special) == whole


@pytest.mark.parametrize("unit", ["a<|im_start|>", "a<tool_call>", "a <|im_start|>\n"])
def test_special_tokens_are_looked_for_in_short_pieces(
    model: Model, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    tokenize = lib.llama_tokenize

    def counted(*arguments: Any) -> int:
        sizes.append(arguments[2])
        return int(tokenize(*arguments))

    monkeypatch.setattr(lib, "llama_tokenize", counted)

    tokens = model.tokenize(unit * 4000)

    assert tokens == model.tokenize(unit) * 4000
    assert max(sizes) <= 3 * special_tokens.STEP


_OVERLAPPING = ["\n\n", "\n\n\n", "\n" * 7, "aba", "ab", "<|im_end|>\n"]


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model whose special tokens overlap each other, as runs of white space do in Gemma's."""
    path = tmp_path_factory.mktemp("vocabulary") / "model.gguf"
    loaded = Model(write_sentencepiece(path, "gemma", _OVERLAPPING))
    yield loaded
    loaded.close()


@pytest.mark.parametrize("step", [3, 20])
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["\n", "ab", "a", "b", "c", "<|im_end|>"]), st.integers(1, 40))
    )
)
def test_a_long_text_of_overlapping_special_tokens_has_the_same_tokens_in_pieces(
    overlapping: Model, step: int, parts: list[tuple[str, int]]
) -> None:
    text = "".join(part * count for part, count in parts)
    whole = overlapping.tokenize(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "STEP", step)
        patch.setattr(special_tokens, "STEP", step)
        patch.setattr(special_tokens, "_WINDOW", 8 * step)

        assert overlapping.tokenize(text) == whole


@pytest.mark.parametrize("unit", ["\n", "ab", "aba", "<|im_end|>\n\n"])
def test_overlapping_special_tokens_are_looked_for_in_short_pieces(
    overlapping: Model, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    tokenize = lib.llama_tokenize
    whole = overlapping._tokenize(unit * 20_000, True, True)

    def counted(*arguments: Any) -> int:
        sizes.append(arguments[2])
        return int(tokenize(*arguments))

    monkeypatch.setattr(lib, "llama_tokenize", counted)

    assert overlapping.tokenize(unit * 20_000) == whole
    assert max(sizes) <= 3 * special_tokens.STEP


@pytest.mark.sweep(1)
@given(text=_TEXTS)
def test_texts_among_parts_have_no_control_tokens(any_model: Model, text: str) -> None:
    end = control_tokens(any_model)["<|im_end|>"]

    tokens = tokenize_parts(any_model, [text, end, "x", end, text])

    inside = tokens[any_model.adds_bos :]
    assert [token for token in inside if any_model.is_control(token)] == [end, end]
    written = b"".join(any_model.render(token, special=True) for token in inside).decode()
    expected = f"{text}<|im_end|>x<|im_end|>{text}"
    assert written.translate(_SPACES) == expected.translate(_SPACES)


_SPACES = dict.fromkeys(map(ord, " \n"))
"""SentencePiece adds them, and Phi 3's tokens eat them."""
