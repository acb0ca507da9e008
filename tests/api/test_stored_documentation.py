"""The stored-completions resource answers as the OpenAPI document says."""

from __future__ import annotations

import pytest

from shared.protocol.openai.stored_responses import (
    DeletedCompletion,
    StoredChatCompletion,
    StoredChatCompletionList,
    StoredMessageList,
    StoredTextCompletion,
    StoredTextCompletionList,
)
from tests.server import CAPITAL, Server


@pytest.mark.parametrize(
    ("path", "body", "item", "items"),
    [
        (
            "/v1/chat/completions",
            {"messages": CAPITAL, "temperature": 0, "response_format": {"type": "text"}},
            StoredChatCompletion,
            StoredChatCompletionList,
        ),
        (
            "/v1/completions",
            {"prompt": [5, 6], "max_tokens": 2},
            StoredTextCompletion,
            StoredTextCompletionList,
        ),
    ],
    ids=["chat", "text"],
)
def test_bodies_have_the_documented_fields(
    server: Server,
    path: str,
    body: dict[str, object],
    item: type[StoredChatCompletion | StoredTextCompletion],
    items: type[StoredChatCompletionList | StoredTextCompletionList],
) -> None:
    stored = {**body, "store": True, "metadata": {"task": "documented"}}
    one = f"{path}/{server.post(path, stored).json()['id']}"

    listed = server.http.get(path, params={"metadata[task]": "documented"}).json()
    fetched = server.http.get(one).json()
    messages = server.http.get(f"{one}/messages").json()
    updated = server.post(one, {"metadata": {"a": "b"}}).json()
    deleted = server.http.delete(one).json()

    items.model_validate(listed, strict=True, extra="forbid")
    item.model_validate(fetched, strict=True, extra="forbid")
    item.model_validate(updated, strict=True, extra="forbid")
    StoredMessageList.model_validate(messages, strict=True)
    DeletedCompletion.model_validate(deleted, strict=True, extra="forbid")
    assert len(listed["data"]) == len(messages["data"]) == 1
