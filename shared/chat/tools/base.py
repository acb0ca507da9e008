"""Tool format: how a family of models writes calls."""

from __future__ import annotations

import hashlib
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from shared.chat.deltas import DeltaParser

Message = Mapping[str, Any]
"""A message as the API has it."""

Tool = Mapping[str, Any]
"""``{"type": "function", "function": {"name", "description", "parameters", "strict"}}``."""

_ALPHANUMERICS = string.ascii_letters + string.digits


class ToolFormat(ABC):
    """A way to write tool calls, and to read and to force them."""

    name: str
    """The format's own name."""

    markers: tuple[str, ...] = ()
    """What announces calls. In some vocabularies these are control tokens, which have to appear in
    the text for `parser` to see them."""

    call_id_prefix: ClassVar[str] = "call_"
    call_id_length: ClassVar[int] = 24
    """Of what follows the prefix, in characters."""

    @abstractmethod
    def parser(self, tools: Sequence[Tool]) -> DeltaParser:
        """A parser for one completion by a model that was offered ``tools``."""

    @abstractmethod
    def grammar(
        self,
        tools: Sequence[Tool],
        *,
        required: bool,
        parallel: bool,
        marker: Callable[[str], str],
    ) -> str:
        """A grammar, in llguidance's Lark, for completions whose calls are all valid.

        A call is one of ``tools``, one or more, with arguments that its ``parameters`` allow.
        ``required``: the completion is a call. Otherwise it may be text, and where a call begins in
        it, it ends with that. ``parallel``: more calls may follow the first.

        ``marker`` turns one of `markers` into Lark: a string in quotes, or ``<[123]>`` where it is
        the control token 123. Schemas are not checked: whoever compiles the grammar does that.
        """

    def lazy_grammar(
        self, tools: Sequence[Tool], *, parallel: bool, marker: Callable[[str], str]
    ) -> str:
        """A grammar that is followed only from where a call has begun: before, all is text.

        There, text may not end any more. What has begun is as `grammar` has it.
        """
        return self.grammar(tools, required=False, parallel=parallel, marker=marker)

    def prepare(
        self, messages: Sequence[Message], tools: Sequence[Tool] | None
    ) -> tuple[Sequence[Message], Sequence[Tool] | None]:
        """``messages`` and ``tools`` as the chat template is to be given them."""
        return messages, tools

    def call_id(self, seed: str) -> str:
        """The id of a call; the same for the same ``seed``, which is to be unique to the call."""
        number = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=32).digest(), "big")
        characters = []
        for _ in range(self.call_id_length):
            number, digit = divmod(number, len(_ALPHANUMERICS))
            characters.append(_ALPHANUMERICS[digit])
        return self.call_id_prefix + "".join(characters)


def tool_names(tools: Sequence[Tool]) -> frozenset[str]:
    """What can be called."""
    return frozenset(tool["function"]["name"] for tool in tools)
