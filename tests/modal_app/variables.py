"""What the tests of Modal have in common: variables, keys, messages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from openai.types.chat import ChatCompletionMessageParam

ENDED = "the container has ended"
"""What a container's process prints at its end."""
KEY = "key-of-the-tests"
KEY_HASH = hashlib.sha256(KEY.encode()).hexdigest()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with ``variables`` for all of pilotlight's and Modal's."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PILOTLIGHT_", "MODAL_"))}
    return {**kept, "MODAL_CONFIG_PATH": os.devnull, **variables}


def user(content: str) -> list[ChatCompletionMessageParam]:
    """A conversation of one message, with the client's types."""
    return [{"role": "user", "content": content}]


CAPITAL = user("What is the capital of France?")
