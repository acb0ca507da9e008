"""What both completions endpoints do with a request: validate, tokenize, submit, describe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from functions.http.request_body import parse_body
from shared.completion.recorder import check_store
from shared.completion.sampling_parameters import sampling_params
from shared.engine.types import (
    ContextLengthError,
    EngineStoppedError,
    GenerationRequest,
    Priority,
    QueueFullError,
    TooManySequencesError,
)
from shared.protocol.errors import (
    context_length_exceeded,
    invalid,
    model_not_found,
    model_stopped,
    overloaded,
)
from shared.protocol.fields import MAX_SEQUENCES, RequestBody, SharedFields
from shared.protocol.responses import ResponseHead
from shared.protocol.unsupported_fields import refuse_others_fields
from shared.runtime.request_context import note_model
from shared.storage.types import new_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.chat.control_tokens import Prompt
    from shared.engine.detokenizer import StopScope
    from shared.engine.generation import Generation
    from shared.engine.grammar.constraint import Constraint
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

RequestT = TypeVar("RequestT", bound=SharedFields)

_TIERS = {"priority": Priority.PRIORITY, "fast": Priority.PRIORITY, "flex": Priority.FLEX}
_INLINE_CHARACTERS = 8192
"""Longer prompts are tokenized on a thread: from here on it takes milliseconds."""


async def parse(request: Request, schema: type[RequestT], state: ServerState) -> RequestT:
    """Read and validate the body, add the model's defaults; raises `APIError` 400, 413 or 415."""
    defaults = state.model().defaults
    parsed = defaults.apply(await parse_body(request, schema, state))
    if parsed.stream_options is not None and not parsed.stream:
        raise invalid("'stream_options' needs 'stream': true.", "stream_options")
    if parsed.model_extra:
        refuse_others_fields(parsed.model_extra)
    check_store(parsed, state)
    return parsed


def check_model(parsed: SharedFields, served: ServedModel) -> None:
    """Raise `APIError` 404 when the request names a model that is not served here."""
    if parsed.model is not None and parsed.model not in served.names:
        raise model_not_found(parsed.model, list(served.names))


async def prompt_tokens(served: ServedModel, prompt: Prompt) -> list[int]:
    """A conversation's tokens, without holding up the event loop."""
    work = partial(served.prompt_tokens, prompt)
    return work() if len(prompt.text) <= _INLINE_CHARACTERS else await asyncio.to_thread(work)


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
