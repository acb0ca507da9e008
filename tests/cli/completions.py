"""A few stored completions, and what a command has printed of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.storage.conversations import TOOLS, assistant, call, chat, result, text, user

FRANCE = chat([user("What is the capital\n of France?")], "Paris.")


OSLO = replace(
    chat(
        [user("Weather in Oslo?"), assistant(None, tool_calls=[call()]), result()],
        assistant("18 degrees."),
        assistant("Sunny."),
        number=86_400_000,
        tools=TOOLS,
        n=2,
    ),
    model="torch",
    metadata={"project": "faq", "reviewed": "yes"},
)


HALF = replace(
    chat([user("A story")], "Once", number=2 * 86_400_000),
    metadata={"project": "faq"},
    user="ada",
    is_incomplete=True,
)


SOMEBODYS = replace(FRANCE, tenant="key-0123456789abcdef", model="somebody's")


TEXT = text("Once upon", " a time", number=5)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


def ids(done: Done) -> list[str]:
    """The ids that ``list --json`` has printed."""
    assert done.status == 0, done.stderr
    return [json.loads(line)["id"] for line in done.stdout.splitlines()]
