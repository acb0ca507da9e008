"""Validation of a completion's request against the model and the deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from shared.protocol.errors import invalid, model_not_found, model_not_permitted
from shared.protocol.fields import MAX_SEQUENCES, SharedFields
from shared.protocol.unsupported_fields import refuse_unsupported_fields

if TYPE_CHECKING:
    from shared.runtime.caller import Caller
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

RequestT = TypeVar("RequestT", bound=SharedFields)


def validated(
    parsed: RequestT, state: ServerState, served: ServedModel, caller: Caller
) -> RequestT:
    """The request with the model's defaults; raises `APIError` 400, 403 or 404."""
    if parsed.model is not None and parsed.model not in served.names:
        if not state.settings.any_model:
            check_request(parsed, state)
            raise model_not_found(parsed.model, state.known_names(caller))
        parsed = parsed.model_copy(update={"model": served.name})
    asked = served.defaults.apply(parsed)
    check_request(asked, state)
    if not caller.may_use(served.names):
        raise model_not_permitted(asked.model or served.name)
    return asked


def check_request(asked: SharedFields, state: ServerState) -> None:
    """Raise `APIError` 400 for what no model of this deployment does."""
    if asked.stream_options is not None and not asked.stream:
        raise invalid("'stream_options' needs 'stream': true.", "stream_options")
    if asked.model_extra:
        refuse_unsupported_fields(asked.model_extra)
    if asked.store and state.settings.store == "none":
        raise invalid(
            "This deployment keeps no completions: 'store' must be false.",
            "store",
            "unsupported_parameter",
        )


def check_sequences(n_prompts: int, n: int, field: str = "n") -> None:
    """Raise `APIError` 400 when one request asks for too many: ``n`` for each prompt.

    ``field`` is where it says so.
    """
    if n_prompts * n > MAX_SEQUENCES:
        raise invalid(
            f"{n_prompts} prompts with {n} choices each are more than the limit of "
            f"{MAX_SEQUENCES} completions in a request.",
            field if n > 1 else "prompt",
        )
