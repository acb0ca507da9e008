"""The stored-completions resource, as the `openai` client uses it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from openai import NotFoundError, OpenAI
from openai.types.chat import ChatCompletion

from shared.storage.sqlite.store import SQLiteStore
from shared.storage.types import CompletionQuery
from tests.api.conftest import StartServer
from tests.conftest import API_KEY
from tests.server import CAPITAL, Server

PATHS = {"chat": "/v1/chat/completions", "text": "/v1/completions"}


@pytest.fixture
def task() -> str:
    """A metadata value of the test's own."""
    return uuid4().hex


def stored(client: OpenAI, task: str, **fields: Any) -> ChatCompletion:
    """A completion that is kept."""
    fields = {"messages": CAPITAL, "temperature": 0, "max_tokens": 12, **fields}
    metadata = {"task": task, **fields.pop("metadata", {})}
    completion = client.chat.completions.create(
        model="pilotlight-builtin", store=True, metadata=metadata, **fields
    )
    assert isinstance(completion, ChatCompletion)
    return completion


class TestChat:
    """`client.chat.completions.list`, `retrieve`, `update`, `delete`, `messages.list`."""

    def test_what_was_answered_is_kept(self, client: OpenAI, task: str) -> None:
        answer = stored(client, task, logprobs=True, top_logprobs=2, seed=4)

        kept = client.chat.completions.retrieve(answer.id)

        assert kept.choices == answer.choices
        assert kept.usage == answer.usage
        assert kept.system_fingerprint == answer.system_fingerprint
        assert kept.metadata == {"task": task}
        assert kept.model_extra is not None
        assert kept.model_extra["seed"] == 4

    def test_what_was_not_to_be_kept_is_not(self, client: OpenAI) -> None:
        answer = client.chat.completions.create(
            model="pilotlight-builtin", messages=[{"role": "user", "content": "Hi"}], max_tokens=2
        )

        with pytest.raises(NotFoundError) as caught:
            client.chat.completions.retrieve(answer.id)
        assert caught.value.code == "completion_not_found"

    def test_lists_run_through_all_pages(self, client: OpenAI, task: str) -> None:
        ids = [stored(client, task, max_tokens=1).id for _ in range(7)]

        forth = [c.id for c in client.chat.completions.list(limit=3, metadata={"task": task})]
        back = client.chat.completions.list(limit=2, order="desc", metadata={"task": task})

        assert forth == ids
        assert [c.id for c in back] == ids[::-1]

    def test_lists_are_filtered(self, client: OpenAI, task: str) -> None:
        red = stored(client, task, metadata={"colour": "red", "size": "a b#=&"})
        blue = stored(client, task, metadata={"colour": "blue", "size": "a b#=&"})

        def found(**filters: str) -> list[str]:
            page = client.chat.completions.list(metadata={"task": task, **filters})
            return [completion.id for completion in page]

        assert found(size="a b#=&") == [red.id, blue.id]
        assert found(size="a b#=&", colour="blue") == [blue.id]
        assert found(colour="green") == []
        assert [c.id for c in client.chat.completions.list(model="no-such-model")] == []

    def test_an_empty_list_says_so(self, server: Server, task: str) -> None:
        response = server.http.get(PATHS["chat"], params={"metadata[task]": task})

        assert response.json() == {
            "object": "list",
            "data": [],
            "first_id": None,
            "last_id": None,
            "has_more": False,
        }

    def test_metadata_is_replaced(self, client: OpenAI, task: str) -> None:
        answer = stored(client, task, metadata={"colour": "red"})

        updated = client.chat.completions.update(answer.id, metadata={"new": task})

        assert updated.metadata == {"new": task}
        assert client.chat.completions.retrieve(answer.id).metadata == {"new": task}
        assert [c.id for c in client.chat.completions.list(metadata={"task": task})] == []
        assert [c.id for c in client.chat.completions.list(metadata={"new": task})] == [answer.id]

    def test_null_removes_all_metadata(self, client: OpenAI, task: str) -> None:
        answer = stored(client, task)

        assert not client.chat.completions.update(answer.id, metadata=None).metadata

        assert not client.chat.completions.retrieve(answer.id).metadata

    def test_what_is_deleted_is_gone(self, client: OpenAI, task: str) -> None:
        answer = stored(client, task)

        deleted = client.chat.completions.delete(answer.id)

        assert deleted.deleted
        assert deleted.object == "chat.completion.deleted"
        assert [c.id for c in client.chat.completions.list(metadata={"task": task})] == []
        for gone in (client.chat.completions.retrieve, client.chat.completions.delete):
            with pytest.raises(NotFoundError):
                gone(answer.id)

    def test_messages_are_listed(self, client: OpenAI, task: str) -> None:
        messages: list[Any] = [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
            },
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": []},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "What is 2 + 3?"},
        ]
        answer = stored(client, task, messages=messages)

        listed = list(client.chat.completions.messages.list(answer.id, limit=3))

        assert [message.content for message in listed] == [
            "Be brief.",
            "Hello",
            "Hello!",
            "",
            None,
            "What is 2 + 3?",
        ]
        assert len({message.id for message in listed}) == 6
        parts = listed[1].content_parts
        assert parts is not None
        assert len(parts) == 2
        back = client.chat.completions.messages.list(answer.id, order="desc", limit=1)
        assert next(iter(back)).content == "What is 2 + 3?"


class TestText:
    """The same for text completions, which OpenAI lacks."""

    def test_the_whole_resource(self, server: Server, task: str) -> None:
        path = PATHS["text"]
        asked = {"prompt": ["a", "b"], "store": True, "metadata": {"task": task}, "max_tokens": 3}
        answer = server.post(path, {**asked, "n": 2, "best_of": 3, "seed": 1}).json()
        item = f"{path}/{answer['id']}"

        listed = server.http.get(path, params={"metadata[task]": task}).json()
        fetched = server.http.get(item).json()
        messages = server.http.get(f"{item}/messages").json()
        updated = server.post(item, {"metadata": {"x": "y"}}).json()
        deleted = server.http.delete(item).json()

        assert [c["id"] for c in listed["data"]] == [answer["id"]]
        assert fetched["choices"] == answer["choices"]
        assert fetched["usage"] == answer["usage"]
        assert [m["content"] for m in messages["data"]] == ["a", "b"]
        assert updated["metadata"] == {"x": "y"}
        assert deleted == {
            "id": answer["id"],
            "object": "text_completion.deleted",
            "deleted": True,
        }
        assert server.http.get(item).status_code == 404

    def test_chats_are_not_among_them(self, server: Server, task: str) -> None:
        answer = server.chat(store=True, metadata={"task": task}, max_tokens=1).json()

        assert server.http.get(f"{PATHS['text']}/{answer['id']}").status_code == 404
        listed = server.http.get(PATHS["text"], params={"metadata[task]": task}).json()
        assert listed["data"] == []


class TestErrors:
    """What can't be is said in OpenAI's envelope."""

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"limit": "0"}, "limit"),
            ({"limit": "101"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"order": "up"}, "order"),
            ({"metadata[a]": "x" * 513}, "metadata.a"),
            ({"metadata.run": "1"}, "metadata.run"),
            ({"metadata": '{"run": 1}'}, "metadata"),
            ({"metadat[run]": "1"}, "metadat[run]"),
            ({"after": "zzz"}, "after"),
        ],
    )
    def test_a_wrong_query(self, server: Server, query: dict[str, str], param: str) -> None:
        response = server.http.get(PATHS["chat"], params=query)

        assert response.status_code == 400
        assert response.json()["error"]["param"] == param

    def test_unknown_parameters_are_named(self, server: Server) -> None:
        response = server.http.get(PATHS["chat"], params={"colour": "red"})

        assert response.status_code == 200
        assert response.headers["x-ignored-params"] == "colour"

    def test_unknown_fields_of_an_update_are_named(self, server: Server) -> None:
        answer = server.chat(store=True, max_tokens=1).json()

        response = server.post(f"{PATHS['chat']}/{answer['id']}", {"metadata": {}, "colour": "red"})

        assert response.status_code == 200
        assert response.headers["x-ignored-params"] == "colour"

    @pytest.mark.parametrize("body", [{}, {"metadata": {"a": 1}}, {"metadata": {"a" * 65: "b"}}])
    def test_a_wrong_update(self, server: Server, body: dict[str, Any]) -> None:
        answer = server.chat(store=True, max_tokens=1).json()

        response = server.post(f"{PATHS['chat']}/{answer['id']}", body)

        assert response.status_code == 400
        assert response.json()["error"]["param"].startswith("metadata")

    @pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
    def test_an_unknown_id(self, server: Server, method: str) -> None:
        response = server.http.request(
            method, f"{PATHS['chat']}/chatcmpl-nothing", json={"metadata": {}}
        )

        assert response.status_code == 404
        assert response.json()["error"]["code"] == "completion_not_found"

    @pytest.mark.slow
    def test_nothing_can_be_stored_without_a_store(self, start_server: StartServer) -> None:
        server = start_server("--store", "none")

        refused = server.chat(store=True)

        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "store"
        assert server.http.get(PATHS["chat"]).status_code == 404
        assert server.chat(store=False, max_tokens=1).status_code == 200


class TestTenants:
    """Each key has its own completions."""

    @pytest.fixture
    def others(self, keyed_server: Server) -> Iterator[httpx2.Client]:
        headers = {"authorization": "Bearer another-key"}
        with keyed_server.client(headers=headers) as http:
            yield http

    def test_others_see_nothing(self, keyed_server: Server, others: httpx2.Client) -> None:
        headers = {"authorization": f"Bearer {API_KEY}"}
        body = {"messages": CAPITAL, "store": True, "max_tokens": 1}
        answer = keyed_server.http.post(PATHS["chat"], json=body, headers=headers).json()
        item = f"{PATHS['chat']}/{answer['id']}"

        for method in ("GET", "DELETE", "POST"):
            assert others.request(method, item, json={"metadata": {}}).status_code == 404
        assert others.get(f"{item}/messages").status_code == 404
        assert answer["id"] not in others.get(PATHS["chat"]).text
        assert keyed_server.http.get(item, headers=headers).status_code == 200

    def test_without_a_key_there_is_no_list(self, keyed_server: Server) -> None:
        assert keyed_server.http.get(PATHS["chat"]).status_code == 401


@pytest.mark.slow
def test_completions_expire_as_the_deployment_says(
    start_server: StartServer, tmp_path: Path
) -> None:
    path = tmp_path / "kept.sqlite3"
    tenant = f"key-{hashlib.sha256(b'long').hexdigest()[:16]}"
    server = start_server(
        *("--store", f"sqlite:{path}", "--retention-days", "1", "--api-key", "short,long"),
        *("--tenant-retention-days", json.dumps({tenant: 30})),
    )
    headers = {key: {"authorization": f"Bearer {key}"} for key in ("short", "long")}
    body = {"messages": CAPITAL, "store": True, "max_tokens": 1}
    for header in headers.values():
        server.http.post(PATHS["chat"], json=body, headers=header)

    with closing(SQLiteStore(path)) as store:
        kept = {
            days: store.list(CompletionQuery(tenant=name, kind="chat")).completions[0]
            for name, days in (
                (tenant, 30),
                (f"key-{hashlib.sha256(b'short').hexdigest()[:16]}", 1),
            )
        }

    for days, completion in kept.items():
        assert completion.expires_at == completion.created + days * 86400


@pytest.mark.slow
def test_either_name_of_a_model_finds_its_completions(start_server: StartServer) -> None:
    server = start_server("--alias", "steady,creative")
    answer = server.chat(store=True, model="creative", max_tokens=1).json()

    for name in ("steady", "creative"):
        listed = server.http.get(PATHS["chat"], params={"model": name}).json()
        assert [completion["id"] for completion in listed["data"]] == [answer["id"]]


@pytest.mark.sweep(1)
@pytest.mark.parametrize("stream", [False, True])
def test_times_are_kept(start_server: StartServer, tmp_path: Path, stream: bool) -> None:
    path = tmp_path / "kept.sqlite3"
    server = start_server("--store", f"sqlite:{path}")
    server.chat(store=True, stream=stream, max_tokens=20, ignore_eos=True)

    with closing(SQLiteStore(path)) as store:
        (kept,) = store.list(CompletionQuery(tenant="default", kind="chat")).completions

    parts = ("queue_seconds", "prefill_seconds", "decode_seconds")
    assert all(kept.timings[part] > 0 for part in parts)
    assert kept.timings["total_seconds"] >= sum(kept.timings[part] for part in parts)
