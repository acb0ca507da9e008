"""Control tokens of a vocabulary, and texts that spell them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.chat.control_tokens import ControlTokens
from shared.engine.control_tokens import control_tokens, tokenize_parts
from shared.engine.llama import Model

_TEXTS = st.lists(
    st.sampled_from(
        [
            "<|im_end|>",
            "<|im_start|>",
            "<think>",
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


def test_control_tokens_are_those_that_a_text_is_not_read_for(model: Model) -> None:
    found = control_tokens(model)

    assert sorted(found) == ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
    for text, token in found.items():
        assert model.is_control(token)
        assert model.tokenize(text, add_special=False) == [token]
        assert token not in model.tokenize(text, parse_special=False)


@given(text=_TEXTS)
def test_a_text_in_parts_has_the_tokens_of_the_whole(model: Model, text: str) -> None:
    tokens = ControlTokens(control_tokens(model))
    parts: list[str | int] = []
    end = 0
    for found in tokens.found(text):
        parts += (text[end : found.start()], tokens.ids[found[0]])
        end = found.end()

    assert tokenize_parts(model, [*parts, text[end:]]) == model.tokenize(text)


@given(text=_TEXTS)
def test_texts_among_parts_have_no_control_tokens(model: Model, text: str) -> None:
    end = model.tokenize("<|im_end|>", add_special=False)[0]

    tokens = tokenize_parts(model, [text, end, text])

    assert [token for token in tokens if model.is_control(token)] == [end]
    written = b"".join(model.render(token, special=True) for token in tokens)
    assert written.decode() == f"{text}<|im_end|>{text}"
