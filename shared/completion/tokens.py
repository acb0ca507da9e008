"""Tokens of a request's texts, and texts of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from shared.protocol.errors import invalid
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from shared.chat.control_tokens import Prompt
    from shared.runtime.served_model import ServedModel

ResultT = TypeVar("ResultT")

_INLINE_CHARACTERS = 2048
"""Longer prompts are tokenized on a thread. So many characters take 0.3 to 4 ms, the latter as runs
of special tokens; four times as many took up to 21 ms as emoji, and more as such runs."""


async def prompt_tokens(served: ServedModel, prompt: Prompt) -> list[int]:
    """A conversation's tokens, without holding up the event loop."""
    work = partial(served.prompt_tokens, prompt)
    if len(prompt.text) <= _INLINE_CHARACTERS:
        return work()
    return await request_context().on_thread(work)


async def predicted_tokens(served: ServedModel, text: str, max_size: int) -> list[int]:
    """The tokens of a ``prediction``; none where nothing is drafted. Raises `APIError` 400."""
    check_size([text], "prediction.content", max_size)
    if not text or served.engine.config.speculation is None:
        return []
    work = partial(served.model.tokenize, text, add_special=False, parse_special=False)
    if len(text) <= _INLINE_CHARACTERS:
        return work()
    return await request_context().on_thread(work)


async def run_tokenizing(
    work: Callable[[], ResultT], texts: Callable[[], Iterable[object]]
) -> ResultT:
    """Result of ``work``, which tokenizes those of ``texts`` that are texts.

    On a thread where these are long or the body is, which may have many numbers besides.
    """
    context = request_context()
    if not context.is_large:
        size = sum(len(each) for each in texts() if isinstance(each, str))
        if size <= _INLINE_CHARACTERS:
            return work()
    return await context.on_thread(work)


def check_token_ids(tokens: Sequence[int | str], n_vocab: int, param: str) -> None:
    """Raise `APIError` 400 for an id outside the vocabulary; texts among ``tokens`` may stand."""
    for i, token in enumerate(tokens):
        if not isinstance(token, str) and not 0 <= token < n_vocab:
            raise invalid(
                f"Invalid '{param}[{i}]': {token} is no token id of this model "
                f"(0 to {n_vocab - 1}).",
                f"{param}[{i}]",
            )


def check_size(parts: Iterable[int | str], param: str, max_size: int) -> None:
    """Raise `APIError` 400 when the texts among ``parts`` have more than ``max_size`` bytes."""
    size = sum(len(part.encode()) for part in parts if isinstance(part, str))
    if size > max_size:
        raise invalid(
            f"'{param}' has {size} bytes, more than the limit of {max_size}.",
            param,
            "content_too_large",
        )


def mixed_tokens(
    served: ServedModel,
    parts: Sequence[int | str],
    param: str,
    *,
    add_special: bool = True,
    parse_special: bool = True,
) -> list[int]:
    """Texts and token ids put together; raises `APIError` 400 for an id outside the vocabulary.

    As in llama.cpp's server ``add_special`` holds for a text at the beginning only.
    """
    check_token_ids(parts, served.model.n_vocab, param)
    tokens: list[int] = []
    for i, part in enumerate(parts):
        if isinstance(part, int):
            tokens.append(part)
        else:
            tokens += served.model.tokenize(
                part, add_special=add_special and i == 0, parse_special=parse_special
            )
    return tokens


def detokenize(served: ServedModel, tokens: Sequence[int]) -> str:
    """The tokens' text, control tokens written out."""
    data = b"".join(served.model.render(token, special=True) for token in tokens)
    return data.decode("utf-8", "replace")
