"""Stand-ins of models, as settings have them: who answers where another model fails or is cold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.config.own_models import OwnModel
from shared.config.settings_file import did_you_mean
from shared.config.upstreams import UpstreamModel


@dataclass(frozen=True, slots=True)
class StandIns:
    """Names of models that answer in the place of another one.

    - ``while_cold``: as long as it is not loaded.
    - ``fallback``: where it fails, in this order.
    """

    while_cold: str | None
    fallback: tuple[str, ...]


def stand_ins(
    sections: Mapping[str, OwnModel | UpstreamModel], known: Collection[str]
) -> dict[str, StandIns]:
    """Those of the sections that name some; raises `ValueError`, which names section and field."""
    found: dict[str, StandIns] = {}
    for name, section in sections.items():
        while_cold = section.while_cold if isinstance(section, OwnModel) else None
        named = {"while_cold": [while_cold] if while_cold else [], "fallback": section.fallback}
        for field, others in named.items():
            for other in others:
                where = f"[models.\"{name}\"]: '{field}'"
                if other not in known:
                    hint = did_you_mean(other, known)
                    raise ValueError(f"{where}: no model is called '{other}'{hint}")
                if other == name:
                    raise ValueError(f"{where}: a model can't stand in for itself")
        if len(set(section.fallback)) < len(section.fallback):
            raise ValueError(f"[models.\"{name}\"]: 'fallback' names a model twice")
        if any(named.values()):
            found[name] = StandIns(while_cold, section.fallback)
    return found
