"""What both completions endpoints do with a request: validate, tokenize, submit, describe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from pydantic import ValidationError

from functions.deadline import DEADLINE_REACHED
from functions.other_servers import refuse_others_fields
from functions.request_record import note_error, note_model
from functions.sampling import sampling_params
from functions.storing import NOT_STORED, Recorder, check_store
from functions.streaming import DisconnectWatch, outputs_or_keep_alive, read_body
from shared.engine.types import (
    ContextLengthError,
    EngineStoppedError,
    GenerationRequest,
    Output,
    Priority,
    QueueFullError,
    SequenceUsage,
    TooManySequencesError,
)
from shared.protocol.choices import Choice, collect, new_plain_choice, usages
from shared.protocol.errors import (
    APIError,
    context_length_exceeded,
    from_validation_error,
    invalid,
    model_not_found,
    model_stopped,
    overloaded,
)
from shared.protocol.fields import MAX_SEQUENCES, RequestBody, SharedFields
from shared.protocol.responses import ResponseHead
from shared.protocol.sse import KEEP_ALIVE, error_event
from shared.storage.types import new_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from functions.state import ServerState
    from shared.chat.control_tokens import Prompt
    from shared.engine.constraints import Constraint
    from shared.engine.detokenizer import StopScope
    from shared.engine.generation import Generation
    from shared.models.served import ServedModel

BodyT = TypeVar("BodyT", bound=RequestBody)
RequestT = TypeVar("RequestT", bound=SharedFields)

_TIERS = {"priority": Priority.PRIORITY, "fast": Priority.PRIORITY, "flex": Priority.FLEX}
INLINE_CHARACTERS = 8192
"""Longer texts are tokenized on a thread: from here on it takes milliseconds."""


async def parse(request: Request, schema: type[RequestT], state: ServerState) -> RequestT:
    """Read and validate the body, add the model's defaults; raises `APIError` 400 or 413."""
    defaults = state.model().defaults
    parsed = defaults.apply(await parse_body(request, schema, state))
    if parsed.stream_options is not None and not parsed.stream:
        raise invalid("'stream_options' needs 'stream': true.", "stream_options")
    if parsed.model_extra:
        refuse_others_fields(parsed.model_extra)
    check_store(parsed, state)
    return parsed


async def parse_body(request: Request, schema: type[BodyT], state: ServerState) -> BodyT:
    """As `parse`, for requests that are no completions."""
    body = await read_body(request, state.settings.max_body_size)
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise from_validation_error(error, body) from None


def check_model(parsed: SharedFields, served: ServedModel) -> None:
    """Raise `APIError` 404 when the request names a model that is not served here."""
    if parsed.model is not None and parsed.model not in served.names:
        raise model_not_found(parsed.model, list(served.names))


async def tokenize(
    served: ServedModel, text: str, *, add_special: bool = True, parse_special: bool = True
) -> list[int]:
    """The prompt's tokens, without holding up the event loop. Keywords: `Model.tokenize`."""
    work = partial(
        served.model.tokenize, text, add_special=add_special, parse_special=parse_special
    )
    return work() if len(text) <= INLINE_CHARACTERS else await asyncio.to_thread(work)


async def prompt_tokens(served: ServedModel, prompt: Prompt) -> list[int]:
    """A conversation's tokens, without holding up the event loop."""
    work = partial(served.prompt_tokens, prompt)
    return work() if len(prompt.text) <= INLINE_CHARACTERS else await asyncio.to_thread(work)


def check_token_ids(tokens: Sequence[int | str], n_vocab: int, param: str) -> None:
    """Raise `APIError` 400 for an id outside the vocabulary; texts among ``tokens`` may stand."""
    for i, token in enumerate(tokens):
        if not isinstance(token, str) and not 0 <= token < n_vocab:
            raise invalid(
                f"Invalid '{param}[{i}]': {token} is no token id of this model "
                f"(0 to {n_vocab - 1}).",
                f"{param}[{i}]",
            )


def check_sequences(n_prompts: int, n: int) -> None:
    """Raise `APIError` 400 when one request asks for too many completions."""
    if n_prompts * n > MAX_SEQUENCES:
        raise invalid(
            f"{n_prompts} prompts with {n} choices each are more than the limit of "
            f"{MAX_SEQUENCES} completions in a request.",
            "n" if n > 1 else "prompt",
        )


def generation_request(
    parsed: SharedFields,
    served: ServedModel,
    prompt: Sequence[int],
    *,
    max_tokens: int,
    deadline: float | None,
    top_logprobs: int | None,
    n: int | None = None,
    prompt_logprobs: bool = False,
    constraint: Constraint | None = None,
    visible_tokens: frozenset[int] = frozenset(),
    stop_scope: Callable[[], StopScope] | None = None,
    return_tokens: bool = False,
) -> GenerationRequest:
    """The engine's request for one prompt. ``max_tokens`` above the limit is lowered to it.

    ``deadline`` is `end_of_generation`'s.
    """
    return GenerationRequest(
        prompt=prompt,
        max_tokens=min(max_tokens, served.max_tokens),
        sampling=sampling_params(parsed, served),
        n=n or parsed.n or 1,
        stop=parsed.stop_strings(),
        stop_scope=stop_scope,
        priority=_TIERS.get(parsed.service_tier or "", Priority.DEFAULT),
        deadline=deadline,
        top_logprobs=top_logprobs,
        prompt_logprobs=prompt_logprobs,
        constraint=constraint,
        visible_tokens=visible_tokens,
        return_tokens=return_tokens,
        cache_prompt=parsed.cache_prompt is not False,
        cache_salt=parsed.prompt_cache_key or "",
        return_progress=bool(parsed.return_progress and parsed.stream),
        usage_per_output=bool(parsed.timings_per_token),
    )


def submit(
    served: ServedModel, requests: Sequence[GenerationRequest], param: str, tenant: str
) -> Generation:
    """Queue a tenant's requests; raises `APIError` 400, 429 or 503.

    ``param`` names the prompt's field.
    """
    note_model(served.name)
    if not all(len(request.prompt) for request in requests):  # the engine would never end it
        raise invalid("The prompt is empty: it has no tokens.", param)
    try:
        return served.engine.submit(*requests, tenant=tenant)
    except ContextLengthError as error:
        raise context_length_exceeded(error.n_prompt, error.n_ctx, param) from None
    except TooManySequencesError as error:
        raise invalid(
            f"{error.n_sequences} completions in one request are more than this server lets wait "
            f"({error.limit}). Ask for them in several requests.",
            "n" if requests[0].n > 1 else param,
        ) from None
    except QueueFullError as error:
        raise overloaded(
            f"The server is at capacity: {error}. Try again in {error.retry_after} s.",
            error.retry_after,
        ) from None
    except EngineStoppedError:
        raise model_stopped() from None


class CompletionStream(Protocol):
    """A formatter of chunks: `ChatStream` or `TextStream`."""

    def begin(self) -> bytes:
        """What comes before the first output."""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""

    def usages(self) -> list[SequenceUsage]:
        """What the finished choices cost."""

    def end(self) -> bytes:
        """What comes after the last output."""


async def events(
    state: ServerState,
    generation: Generation,
    stream: CompletionStream,
    recorder: Recorder | None = None,
) -> AsyncIterator[bytes]:
    """The events of a streamed completion; a failure becomes the last one.

    It is stored before the last event says that all is well, and also when the client has hung up
    or this server ends first.
    """
    if beginning := stream.begin():
        yield beginning
    try:
        async for outputs in outputs_or_keep_alive(generation):
            if recorder is not None:
                recorder.add(outputs)
            yield stream.format(outputs) if outputs else KEEP_ALIVE
    except APIError as error:
        note_error(error)
        if recorder is not None and state.is_draining and not await recorder.store():
            yield NOT_STORED
        yield error_event(error)
        return
    state.metrics.observe(generation, stream.usages())
    if generation.reached_deadline:
        yield DEADLINE_REACHED
    if recorder is not None and not await recorder.store():
        yield NOT_STORED
    yield stream.end()


async def whole_choices(
    state: ServerState,
    request: Request,
    generation: Generation,
    count: int,
    new_choice: Callable[[int], Choice] = new_plain_choice,
) -> list[Choice]:
    """All choices once they have ended; a client that hangs up meanwhile cancels them."""
    choices = [new_choice(index) for index in range(count)]
    with DisconnectWatch(request.receive, generation.cancel):
        async for outputs in generation:
            collect(choices, outputs)
    state.metrics.observe(generation, usages(choices))
    return choices


def response_head(parsed: SharedFields, served: ServedModel, prefix: str) -> ResponseHead:
    """A new completion's id and constants. The tier is the one that serves the request."""
    tier = _TIERS.get(parsed.service_tier or "", Priority.DEFAULT)
    return ResponseHead(
        id=new_id(prefix),
        created=int(time.time()),
        model=served.name,
        system_fingerprint=served.fingerprint,
        service_tier=tier.name.lower(),
    )


def response_headers(parsed: RequestBody) -> dict[str, str]:
    """Names the fields that had no effect."""
    return ignored_header(parsed.ignored_params)


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """The header for fields or parameters that are not known here."""
    return {"x-ignored-params": _header_value(", ".join(names))} if names else {}


def _header_value(text: str) -> str:
    """``text`` as far as a header can carry it: printable ASCII, 1,000 characters."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text[:1000])
    return printable.strip()
