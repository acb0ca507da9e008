"""Stand-ins of models, as settings have them: who answers where another model fails or is cold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.config.settings_file import did_you_mean

STAND_IN_FIELDS = ("while_cold", "fallback")
"""Fields of a section that name other models; all kinds of sections may have them."""

_NAMES = TypeAdapter(tuple[str, ...])
_NAME = TypeAdapter(str | None)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Names of models that answer in the place of another one.

    - ``while_cold``: as long as it is not loaded.
    - ``fallback``: where it fails, in this order.
    """

    while_cold: str | None
    fallback: tuple[str, ...]


def stand_ins(
    sections: Mapping[str, Mapping[str, Any]], known: Collection[str]
) -> dict[str, StandIns]:
    """Those of the sections that name some; raises `ValueError`, which names section and field."""
    found: dict[str, StandIns] = {}
    for name, section in sections.items():
        where = f'[models."{name}"]'
        try:
            while_cold = _NAME.validate_python(section.get("while_cold"))
            fallback = _NAMES.validate_python(section.get("fallback", ()))
        except ValidationError:
            raise ValueError(
                f"{where}: 'while_cold' is a name, 'fallback' a list of them"
            ) from None
        for other in (*fallback, *([while_cold] if while_cold else [])):
            if other not in known:
                hint = did_you_mean(other, known)
                raise ValueError(f"{where}: no model is called '{other}'{hint}")
            if other == name:
                raise ValueError(f"{where}: a model can't stand in for itself")
        if len(set(fallback)) < len(fallback):
            raise ValueError(f"{where}: 'fallback' names a model twice")
        if while_cold or fallback:
            found[name] = StandIns(while_cold, fallback)
    return found
