"""Where texts are tokenized: on the event loop only those that take less than some milliseconds."""

from __future__ import annotations

import asyncio
import threading

import pytest

from shared.completion.tokens import run_tokenizing
from shared.runtime import request_context


@pytest.mark.parametrize(
    ("texts", "is_large", "is_inline"),
    [
        (["a" * 2048, 1, None], False, True),
        (["a" * 2049], False, False),
        (["a" * 1025, "b" * 1024], False, False),
        ([1, 2], True, False),
    ],
)
def test_long_texts_are_tokenized_on_a_thread(
    texts: list[object], is_large: bool, is_inline: bool
) -> None:
    async def thread() -> int:
        request_context.begin("req-1", "POST").is_large = is_large
        return await run_tokenizing(threading.get_ident, lambda: texts)

    assert (asyncio.run(thread()) == threading.get_ident()) is is_inline
