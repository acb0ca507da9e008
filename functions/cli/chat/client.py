"""The conversation of ``pilotlight chat`` with a server, over HTTP."""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator, Iterator
from typing import Any

import httpx2

from functions.cli.event_stream import event_data
from functions.cli.http_client import server_client

_SECONDS = 600.0
"""For a server's answer, and from one piece of it to the next."""


class ChatError(Exception):
    """What went wrong, for people."""


class ChatClient:
    """The messages so far, and the server that continues them."""

    def __init__(self, url: str, key: str | None, options: argparse.Namespace) -> None:
        """Raises `UsageError` for what is no URL, `ChatError` for instructions that are no text."""
        is_elsewhere = options.url is not None  # a proxy is not for the server in here
        self._client = server_client(url, key, timeout=_SECONDS, trust_env=is_elsewhere)
        self._has_key = key is not None
        self._fields: dict[str, Any] = {"stream": True}
        if options.temperature is not None:
            self._fields["temperature"] = options.temperature
        if options.max_tokens is not None:
            self._fields["max_completion_tokens"] = options.max_tokens
        self._system = [{"role": "system", "content": options.system}] if options.system else []
        self._messages: list[dict[str, str]] = []

    def forget(self) -> None:
        """Begin anew."""
        self._messages.clear()

    def answer(self, text: str) -> Generator[str, None, None]:
        """The pieces of the answer to ``text``; raises `ChatError`.

        Both are remembered, also an answer that is empty or was interrupted: many templates insist
        that the roles alternate. An exchange that failed is forgotten.
        """
        question = {"role": "user", "content": text}
        answer = {"role": "assistant", "content": ""}
        exchange = [question, answer]
        try:
            for piece in self._pieces([*self._system, *self._messages, question]):
                answer["content"] += piece
                yield piece
        except ChatError:
            exchange.clear()
            raise
        finally:
            self._messages += exchange

    def _pieces(self, messages: list[dict[str, str]]) -> Iterator[str]:
        try:
            for message in messages:
                message["content"].encode()
        except UnicodeEncodeError:
            raise ChatError("the message is no text in the terminal's encoding") from None
        body = json.dumps({"messages": messages, **self._fields}).encode()
        headers = {"content-type": "application/json"}
        url = "/v1/chat/completions"
        try:
            with self._client.stream("POST", url, content=body, headers=headers) as response:
                if response.status_code == 401 and not self._has_key:
                    raise ChatError(
                        f"the server at {self._client.base_url} wants an API key: give it with "
                        "--api-key KEY or in the environment as PILOTLIGHT_API_KEY"
                    )
                if response.status_code != 200:
                    response.read()
                    raise ChatError(_message(response))
                for data in event_data(response.iter_bytes()):
                    if data != b"[DONE]":
                        yield _delta(data)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ChatError(f"can't reach {self._client.base_url}: {error}") from error


def _delta(data: bytes) -> str:
    """The text that a stream's event adds."""
    try:
        event = json.loads(data)
        if "error" in event:
            raise ChatError(event["error"]["message"])
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ChatError(f"the server sent what is no chunk of an answer: {data[:80]!r}") from None


def _message(response: httpx2.Response) -> str:
    """An error response in words."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {response.status_code}"
