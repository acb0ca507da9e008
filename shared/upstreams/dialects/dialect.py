"""Dialect of an upstream: requests as its API wants them, and its answers as parts of a completion.

A request comes in OpenAI's fields, and what an answer consists of is named as OpenAI names it: what
lies between is one dialect's own, and formatting, storing and metering are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from shared.config.upstreams import UpstreamModel
    from shared.protocol.errors import APIError
    from shared.upstreams.headers import Headers

Endpoint = Literal["chat", "text"]
FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A part of a tool call: ``id`` and ``name`` are in its first one, arguments in any."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """What an upstream's answer adds to one choice.

    ``logprobs`` are in the shape that OpenAI's answers of the endpoint have.
    """

    choice: int = 0
    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: Sequence[ToolCallPart] = ()
    logprobs: Mapping[str, Any] | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class UpstreamUsage:
    """Tokens as the upstream counted them; ``prompt`` has the cached ones in it."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    accepted_prediction: int = 0
    rejected_prediction: int = 0


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request as it is sent: ``path`` is below the upstream's URL."""

    path: str
    headers: Headers
    body: bytes


class AnswerReader(ABC):
    """Reader of one answer, whole or streamed. Whatever it is fed, it raises `APIError` alone."""

    usage: UpstreamUsage | None = None
    """As soon as the upstream has told it; the last word counts."""
    model: str | None = None
    """What the upstream says has answered."""
    service_tier: str | None = None
    system_fingerprint: str | None = None
    is_done: bool = False
    """Whether the upstream has said that its stream is complete: what ends before broke off."""

    error: APIError | None = None
    """What is wrong with a stream behind the parts that `feed` has returned last."""

    @abstractmethod
    def whole(self, body: bytes) -> list[AnswerPart]:
        """The parts of an answer that is one JSON value.

        Raises `UpstreamError` 502 for what is no such answer.
        """

    @abstractmethod
    def feed(self, data: bytes) -> list[AnswerPart]:
        """The parts that are complete with the next bytes of a stream, cut anywhere.

        Raises `UpstreamError` for an error event of the upstream, and 502 for what is no stream,
        or has it as `error` where there are parts before it.
        """


class UpstreamDialect(ABC):
    """One upstream model's dialect."""

    default_max_tokens: int | None = None
    """Completion tokens that are asked for where a request has no limit, if the API needs one."""

    def __init__(self, name: str, upstream: UpstreamModel) -> None:
        """``name``: the model's name here."""
        self.name = name
        self.upstream = upstream

    @abstractmethod
    def request(self, endpoint: Endpoint, fields: Mapping[str, Any]) -> WireRequest:
        """A request of ``fields`` to ``endpoint``, with all headers but content's.

        ``fields`` are OpenAI's, validated, the model's defaults filled in, without nulls and
        without those of no effect; of ``model``, ``store`` and ``metadata`` nothing is sent. Raises
        `APIError` 400, with the field's name, for what the upstream can't do.
        """

    async def authorized(self, request: WireRequest) -> WireRequest:
        """``request`` with what shows who asks, if that depends on its bytes or takes a while.

        Raises `UpstreamError` without credentials.
        """
        return request

    @abstractmethod
    def reader(self, endpoint: Endpoint) -> AnswerReader:
        """A reader of the answer."""
