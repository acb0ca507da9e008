"""Table and detail views of stored completions in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from functions.cli import table
from functions.cli.completions.source import Entry
from functions.cli.table import safe, shown_time

_BEGINNING = 60
"""Characters of a text that a table shows."""


def print_table(entries: Iterable[Entry], *, has_text: bool) -> None:
    """A line for each completion; with questions and answers, which are private, if asked for."""
    table.print_table(_table(entries, has_text=has_text))


def print_details(entry: Entry) -> None:
    """What a completion is, the messages, the answers."""
    console = table.new_console()
    for line in _details(entry):
        console.print(line)


def _table(entries: Iterable[Entry], *, has_text: bool) -> Table:
    shown = table.new_table()
    shown.add_column("created (UTC)", no_wrap=True)
    shown.add_column("id", no_wrap=True)
    shown.add_column("model", overflow="fold")
    shown.add_column("metadata", overflow="fold")
    shown.add_column("tokens", justify="right", no_wrap=True)
    if has_text:
        shown.add_column("question", overflow="fold")
        shown.add_column("answer", overflow="fold")
    for entry in entries:
        completion = entry.completion
        cells = [
            shown_time(completion["created"]),
            completion["id"],
            completion["model"],
            _pairs(completion.get("metadata") or {}),
            _tokens(completion),
        ]
        if has_text:
            questions = [m for m in entry.messages() if m["role"] == "user"]
            cells.append(_beginning(questions[-1]["content"]) if questions else "")
            cells.append(_beginning(_answer(completion["choices"][0])))
        shown.add_row(*(Text(safe(cell)) for cell in cells))
    return shown


def _details(entry: Entry) -> Iterator[Text]:
    completion = entry.completion
    choices: Sequence[Mapping[str, Any]] = completion["choices"]
    yield from _fields(
        {
            "id": completion["id"],
            "created": f"{shown_time(completion['created'])} UTC",
            "model": completion["model"],
            "metadata": _pairs(completion.get("metadata") or {}),
            "user": completion.get("input_user"),
            "tokens": f"{_tokens(completion)} ({_token_counts(completion)})",
            "finished": ", ".join(choice["finish_reason"] for choice in choices),
            "incomplete": "the client disconnected" if completion.get("incomplete") else None,
        }
    )
    for message in entry.messages():
        yield from _block(message["role"], _said(message))
    for choice in choices:
        number = f" {choice['index']}" if len(choices) > 1 else ""
        yield from _block(f"answer{number}", _answer(choice))


def _fields(fields: Mapping[str, str | None]) -> Iterator[Text]:
    shown = {name: value for name, value in fields.items() if value}
    width = max(map(len, shown)) + 2
    for name, value in shown.items():
        yield Text.assemble((name.ljust(width), "bold"), safe(value))


def _block(heading: str, text: str) -> Iterator[Text]:
    yield Text()
    yield Text(safe(heading), "bold")
    yield Text(safe(text))


def _answer(choice: Mapping[str, Any]) -> str:
    return str(choice["text"]) if "text" in choice else _said(choice["message"])


def _said(message: Mapping[str, Any]) -> str:
    """A message's text and calls."""
    content = message.get("content")
    parts = [] if content is None else [content if isinstance(content, str) else str(content)]
    called = [call["function"] for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        called.append(message["function_call"])
    parts += [f"{call['name']}({call['arguments']})" for call in called]
    return "\n".join(parts)


def _beginning(content: Any) -> str:
    """A text's first words on one line."""
    line = " ".join(str(content if content is not None else "").split())
    return line if len(line) <= _BEGINNING else f"{line[: _BEGINNING - 1]}…"


def _pairs(metadata: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in metadata.items())


def _tokens(completion: Mapping[str, Any]) -> str:
    return str((completion.get("usage") or {}).get("total_tokens", ""))


def _token_counts(completion: Mapping[str, Any]) -> str:
    usage = completion.get("usage") or {}
    return f"{usage.get('prompt_tokens', 0)} prompt, {usage.get('completion_tokens', 0)} completion"
