"""``pilotlight chat``: a conversation in the terminal, over the same HTTP API that programs use."""

from __future__ import annotations

import argparse
import json
import logging
import readline
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from shared.models.loader import ModelLoader
from shared.settings import Settings

_HISTORY_LENGTH = 1000


class ChatError(Exception):
    """What went wrong, for people."""


def chat(settings: Settings, options: argparse.Namespace) -> int:
    """Talk to ``--url``, or to a model loaded for the conversation; returns the exit status."""
    try:
        with _server(settings, options.url) as url:
            key = settings.api_key[0].get_secret_value() if settings.api_key else "unused"
            conversation = Conversation(url, key, options)
            if options.prompt is not None:
                conversation.say(options.prompt)
            else:
                conversation.talk()
    except ChatError as error:
        print(f"pilotlight: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    return 0


class Conversation:
    """The messages so far, and the server that continues them."""

    def __init__(self, url: str, key: str, options: argparse.Namespace) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=httpx.Timeout(600)
        )
        self._fields: dict[str, Any] = {"stream": True}
        if options.temperature is not None:
            self._fields["temperature"] = options.temperature
        if options.max_tokens is not None:
            self._fields["max_completion_tokens"] = options.max_tokens
        self._system = [{"role": "system", "content": options.system}] if options.system else []
        self._messages: list[dict[str, str]] = list(self._system)

    def talk(self) -> None:
        """Prompt, answer, and so on until the user leaves."""
        readline.set_history_length(_HISTORY_LENGTH)
        print("Type a message. /clear forgets the conversation, /exit ends it.")
        while True:
            try:
                text = input("> ").strip()
            except EOFError:
                print()
                return
            if text == "/exit":
                return
            if text == "/clear":
                self._messages = list(self._system)
                continue
            if not text:
                continue
            try:
                self.say(text)
            except KeyboardInterrupt:
                print()  # Ctrl-C stops the answer, not the conversation
            except ChatError as error:
                print(f"pilotlight: {error}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Send a message and print the answer as it comes.

        Both are remembered, also an answer that is empty or was interrupted: many templates insist
        that the roles alternate. An exchange that failed is forgotten.
        """
        question = {"role": "user", "content": text}
        answer = {"role": "assistant", "content": ""}
        exchange = [question, answer]
        try:
            for piece in self._answer([*self._messages, question]):
                answer["content"] += piece
                print(piece, end="", flush=True)
            print()
        except ChatError:
            exchange.clear()
            raise
        finally:
            self._messages += exchange

    def _answer(self, messages: list[dict[str, str]]) -> Iterator[str]:
        body = {"messages": messages, **self._fields}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    response.read()
                    raise ChatError(_message(response))
                for line in response.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield _delta(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError as error:
            raise ChatError(f"can't reach {self._client.base_url}: {error}") from error


def _delta(event: dict[str, Any]) -> str:
    """The text that a stream's event adds."""
    if "error" in event:
        raise ChatError(event["error"]["message"])
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def _message(response: httpx.Response) -> str:
    """An error response in words."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {response.status_code}"


@contextmanager
def _server(settings: Settings, url: str | None) -> Iterator[str]:
    """``url``, or the address of a server that runs inside this process."""
    if url is not None:
        yield url.removesuffix("/").removesuffix("/v1")
        return
    # Only needed when the model is loaded here.
    from functions.app import create_app
    from functions.draining import DrainingServer
    from functions.origin_guard import OriginGuard
    from functions.server import configure_logging

    configure_logging("error")
    logging.getLogger("llama.cpp").setLevel(logging.ERROR)
    # The server is this conversation's own; of keys that are known by hashes only it has none.
    settings = settings.model_copy(update={"api_key_hash": []})
    loader = ModelLoader(settings)
    loader.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings, loader)
        app.state.server.origin_guard = OriginGuard()
        server = DrainingServer(app, app.state.server, grace_period=0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            loader.wait()
        except (ValueError, RuntimeError, OSError) as error:
            raise ChatError(str(error)) from error
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
