"""``pilotlight chat``: a conversation in the terminal, over the same HTTP API that programs use.

Answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, redirect_stdout

from functions.cli.chat.client import ChatClient, ChatError
from functions.cli.interruption import INTERRUPTED, interruptible
from functions.cli.usage_error import UsageError
from shared.config.configuration import flag
from shared.config.settings import Settings
from shared.config.settings_file import did_you_mean

_HISTORY_LENGTH = 1000
_COMMANDS = {
    "/help": "tells the commands",
    "/clear": "forgets the conversation",
    "/exit": "ends it, as Ctrl-D does",
}
_SYNONYMS = {"/?": "/help", "/new": "/clear", "/reset": "/clear", "/quit": "/exit", "/bye": "/exit"}
_MODEL_OPTIONS = (
    *("model", "model_cache", "ctx_size", "threads", "n_gpu_layers", "chat_template_file"),
)


def chat(settings: Settings, options: argparse.Namespace) -> int:
    """Talk to ``--url``, or to a model loaded for the conversation; returns the exit status."""
    try:
        text = _message(options)
        with _server(settings, options) as url, interruptible():
            key = settings.api_key[0].get_secret_value() if settings.api_key else None
            client = ChatClient(url, key, options)
            if text is None:
                _talk(client)
            else:
                _say(client, text)
    except ChatError as error:
        print(f"pilotlight: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    return 0


def _message(options: argparse.Namespace) -> str | None:
    """The one message to send, or None to talk. Raises `ChatError` where there is neither."""
    text: str | None = options.prompt
    if sys.stdin is not None:
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        if text is None:
            if sys.stdin.isatty():
                return None
            text = sys.stdin.read().removeprefix("\ufeff").rstrip()
    if not text:
        raise ChatError(
            "there is no message. Give one as an argument or on standard input, or start the "
            "command in a terminal to talk"
        )
    return text


@contextmanager
def _server(settings: Settings, options: argparse.Namespace) -> Iterator[str]:
    """The address of ``--url``, or of a server that runs inside this process."""
    if options.url is not None:
        if given := [flag(name) for name in _MODEL_OPTIONS if name in options]:
            raise UsageError(f"with --url it is the server that has the model: no {given[0]}")
        yield options.url
        return
    # Only needed when the model is loaded here.
    from functions.cli.chat.local_server import own_server

    with ExitStack() as stack:
        try:
            url = stack.enter_context(own_server(settings))
        except (ValueError, RuntimeError, OSError) as error:
            raise ChatError(str(error)) from error
        yield url


def _talk(client: ChatClient) -> None:
    """Prompt, answer, and so on until the user leaves."""
    import readline  # line editing and history, from its import on

    readline.set_history_length(_HISTORY_LENGTH)
    print("Type a message. /help tells what else there is, /exit ends.", file=sys.stderr)
    while True:
        try:
            line = _line()
        except EOFError:
            print(file=sys.stderr)
            return
        if not line.strip():
            continue
        command = _command(line)
        if command == "/exit":
            return
        if command == "/clear":
            client.forget()
        elif command is None:
            _answer(client, line.strip())
        else:
            print(_help(command), file=sys.stderr)


def _line() -> str:
    """What the user types. The prompt goes to the terminal, wherever answers go."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    with nullcontext() if is_terminal else redirect_stdout(sys.stderr):
        return input("> ")


def _command(line: str) -> str | None:
    """The command that a line is, as it is called or was typed; None for a message.

    Paths are messages, and so is whatever begins with a space.
    """
    word = line.split(maxsplit=1)[0].lower()
    if not line.startswith("/") or "/" in word[1:]:
        return None
    return _SYNONYMS.get(word, word)


def _help(command: str) -> str:
    """The answer to ``/help``, and to what is no command."""
    if command not in _COMMANDS:
        guess = did_you_mean(command, (*_COMMANDS, *_SYNONYMS))
        return (
            f"There is no command {command}{guess or '.'} /help tells what there is. A message may "
            "begin with / behind a space."
        )
    return "\n".join(
        (
            *(f"{name:<7} {what}" for name, what in _COMMANDS.items()),
            "Ctrl-C  stops an answer",
            "Anything else is a message; one that begins with / needs a space before it.",
        )
    )


def _answer(client: ChatClient, text: str) -> None:
    """An answer in a conversation, which goes on whatever happens to it."""
    try:
        _say(client, text)
    except KeyboardInterrupt:
        print()
    except ChatError as error:
        print(f"pilotlight: {error}", file=sys.stderr)


def _say(client: ChatClient, text: str) -> None:
    """Print the answer to ``text`` as it comes."""
    has_begun = False
    try:
        with closing(client.answer(text)) as pieces:
            for piece in pieces:
                print(piece, end="", flush=True)
                has_begun = True
    except ChatError:
        if has_begun:
            print()
        raise
    print()
