"""Draft limits of a request: how long drafts of its next tokens may be (speculative decoding)."""

from __future__ import annotations

from shared.engine.speculation.options import NO_LIMITS, DraftLimits, SpeculationOptions
from shared.protocol.fields import SharedFields

_FIELDS = frozenset(("speculative_n_max", "speculative_n_min", "speculative_p_min"))


def draft_limits(asked: SharedFields) -> DraftLimits:
    """What the request says of drafts."""
    if _FIELDS.isdisjoint(asked.model_fields_set):
        return NO_LIMITS
    return DraftLimits(
        n_max=asked.speculative_n_max,
        n_min=asked.speculative_n_min,
        p_min=asked.speculative_p_min,
    )


def draft_params_without_effect(
    asked: SharedFields, options: SpeculationOptions | None
) -> list[str]:
    """Of these fields those that ask for what a model with ``options`` has not."""
    if _FIELDS.isdisjoint(asked.model_fields_set):
        return []
    names: list[str] = []
    if options is None:
        given = {"n_max": asked.speculative_n_max, "n_min": asked.speculative_n_min}
        names = [f"speculative.{name}" for name, value in given.items() if value]
    if asked.speculative_p_min and (options is None or not options.has_draft_model):
        names.append("speculative.p_min")
    return names
