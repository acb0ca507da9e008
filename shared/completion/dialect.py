"""Dialect of a completions endpoint: what a request means, and how its answer is written.

All that dialects have in common, from the queue to the last byte, is `Completion`'s.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, Protocol, TypeVar

from shared.completion.constraint import Before, text_constraint
from shared.completion.draft_limits import draft_limits, draft_params_without_effect
from shared.completion.prefix_retention import prefix_retention
from shared.completion.sampling_parameters import logit_bias, sampling_params
from shared.engine.types import GenerationRequest, Priority
from shared.protocol.choices import Choice
from shared.protocol.fields import SharedFields
from shared.protocol.responses import ResponseHead
from shared.storage.types import Kind

if TYPE_CHECKING:
    from shared.engine.detokenizer import StopScope
    from shared.engine.grammar.constraint import Constraint
    from shared.engine.sampling.logit_bias import LogitBias
    from shared.engine.types import Output
    from shared.runtime.request_context import RequestContext
    from shared.runtime.served_model import ServedModel

RequestT = TypeVar("RequestT", bound=SharedFields)

_TIERS = {"priority": Priority.PRIORITY, "fast": Priority.PRIORITY, "flex": Priority.FLEX}
_TIER_NAMES = {priority: priority.name.lower() for priority in Priority}


class CompletionStream(Protocol):
    """Formatter of a stream's chunks."""

    choices: list[Choice]
    """How each choice ended, and what it cost; without its text."""

    def begin(self) -> bytes:
        """What comes before the first output."""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""

    def end(self, cost: float | None = None) -> bytes:
        """What comes after the last output. ``cost``: dollars that ``usage`` shows."""


class Dialect(ABC, Generic[RequestT]):
    """One request in its dialect."""

    id_prefix: ClassVar[str]
    """What completions' ids begin with."""
    prompt_field: ClassVar[str]
    """The request's field that errors of the prompt name."""
    operation: ClassVar[Literal["chat", "text_completion"]]
    """Its name in OpenTelemetry's conventions."""
    kind: ClassVar[Kind | None] = None
    """What its completions are stored as; None where they never are."""

    def __init__(
        self, asked: RequestT, served: ServedModel, context: RequestContext, max_content_size: int
    ) -> None:
        """A request to a model.

        - ``asked``: the request, defaults of the model applied.
        - ``max_content_size``: bytes that its texts may have.
        """
        self.asked = asked
        self.spelled = asked
        """The request as OpenAI's endpoints would spell it: what is sampled goes by that."""
        self.served = served
        self.context = context
        self.max_content_size = max_content_size
        tier = context.caller.service_tier(asked.service_tier)
        self.priority = _TIERS.get(tier or "", Priority.DEFAULT)
        self.head = ResponseHead(
            id=context.new_completion_id(self.id_prefix),
            created=int(time.time()),
            model=served.name,
            system_fingerprint=served.fingerprint,
            service_tier=_TIER_NAMES[self.priority],  # the one that serves the request
        )

    @abstractmethod
    async def engine_requests(self) -> list[GenerationRequest]:
        """What is to be generated, one request for each prompt; raises `APIError` 400."""

    async def constraint(self, before: Before) -> Constraint | None:
        """Output constraint (JSON Schema, grammar, tool calls), compiled last of all.

        Raises `APIError` 400, `ClientDisconnect`, and what ``before`` raises.
        """
        tenant = self.context.caller.tenant
        return await text_constraint(self.spelled, self.served, tenant, before=before)

    @abstractmethod
    def body(self, choices: Sequence[Choice], cost: float | None = None) -> bytes:
        """The whole answer's JSON, from all choices that were generated.

        ``cost``: dollars that ``usage`` shows.
        """

    @abstractmethod
    def stream(self) -> CompletionStream:
        """A new formatter of the answer's events."""

    def new_choice(self, index: int) -> Choice:  # noqa: ARG002
        """What gathers the outputs of choice ``index``."""
        return Choice()

    @property
    def count_field(self) -> str:
        """The request's field that errors of too many choices name."""
        return "n"

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk that has the usage."""
        return bool(self.asked.stream_options and self.asked.stream_options.include_usage)

    @property
    def ignored_params(self) -> list[str]:
        """The request's fields that have no effect."""
        asked, engine = self.asked, self.served.engine
        return [
            *asked.ignored_params,
            *([] if engine.window.shifts else asked.shift_params),
            *draft_params_without_effect(asked, engine.speculation),
        ]

    def engine_request(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        top_logprobs: int | None,
        n: int | None = None,
        prompt_logprobs: bool = False,
        visible_tokens: frozenset[int] = frozenset(),
        stop_scope: Callable[[], StopScope] | None = None,
        return_tokens: bool = False,
        prediction: Sequence[int] = (),
    ) -> GenerationRequest:
        """The engine's request for one prompt; raises `APIError` 400.

        ``max_tokens`` above the deployment's limit is lowered to it.
        """
        asked, deadline = self.spelled, self.context.deadline
        retention = prefix_retention(self.asked)
        return GenerationRequest(
            prompt=prompt,
            max_tokens=min(max_tokens, self.served.max_tokens),
            sampling=sampling_params(asked, self._logit_bias),
            n=n or asked.n or 1,
            stop=asked.stop_strings(),
            stop_scope=stop_scope,
            priority=self.priority,
            deadline=deadline.end_of_generation if deadline else None,
            top_logprobs=top_logprobs,
            prompt_logprobs=prompt_logprobs,
            visible_tokens=visible_tokens,
            return_tokens=return_tokens,
            cache_prompt=retention.is_looked_up,
            cache_salt=asked.prompt_cache_key or "",
            stores_prefix=retention.is_stored,
            return_progress=bool(asked.return_progress and asked.stream),
            usage_per_output=bool(asked.timings_per_token),
            prediction=prediction,
            drafts=draft_limits(asked),
            n_keep=self._n_keep(),
            n_discard=asked.n_discard or 0,
        )

    @cached_property
    def _logit_bias(self) -> LogitBias | None:
        """All prompts': to read 4,096 tokens takes a millisecond. Raises `APIError` 400."""
        return logit_bias(self.spelled, self.served.model.n_vocab)

    def _n_keep(self) -> int:
        """Tokens that stay in a shifted context; the prompt's first is not counted in requests."""
        asked = self.spelled.n_keep
        return -1 if asked is None or asked < 0 else asked + self.served.model.adds_bos
