"""Settings of sampling, in llama-server's names: defaults of request fields for all models here."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.config.server_settings import ServerSettings

_RANDOM = -1
"""llama-server's seed for one that is drawn."""
_FIELDS = {
    "seed": "seed",
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Settings, and the fields of requests that they are defaults of."""
_OWN_DEFAULT = "for requests that say nothing (default: each endpoint's own)"


class SamplingSettings(ServerSettings):
    """How requests are sampled that don't say; a model's section of the file wins over them."""

    seed: int | None = Field(
        default=None,
        description="random seed for requests that have none; -1 draws one for each (default)",
        json_schema_extra={"metavar": "SEED", "short": "-s"},
    )
    temp: float | None = Field(
        default=None,
        description=f"temperature {_OWN_DEFAULT}",
        json_schema_extra={"others": ["--temperature"], "metavar": "N"},
    )
    top_k: int | None = Field(
        default=None,
        description=f"likeliest tokens that are left {_OWN_DEFAULT}; 0 for all",
        json_schema_extra={"metavar": "N"},
    )
    top_p: float | None = Field(
        default=None,
        description=f"probability that the likeliest tokens have together {_OWN_DEFAULT}",
        json_schema_extra={"metavar": "N"},
    )
    min_p: float | None = Field(
        default=None,
        description=f"least probability, as a part of the likeliest token's, {_OWN_DEFAULT}",
        json_schema_extra={"metavar": "N"},
    )
    repeat_penalty: float | None = Field(
        default=None,
        description=f"penalty of tokens that were there before {_OWN_DEFAULT}",
        json_schema_extra={"metavar": "N"},
    )
    presence_penalty: float | None = Field(
        default=None,
        description=f"presence penalty {_OWN_DEFAULT}",
        json_schema_extra={"metavar": "N"},
    )
    frequency_penalty: float | None = Field(
        default=None,
        description=f"frequency penalty {_OWN_DEFAULT}",
        json_schema_extra={"metavar": "N"},
    )

    @property
    def sampling_defaults(self) -> dict[str, Any]:
        """Defaults by setting: the field of requests, and its value."""
        values = {name: (field, getattr(self, name)) for name, field in _FIELDS.items()}
        if self.seed == _RANDOM:
            del values["seed"]
        return {name: pair for name, pair in values.items() if pair[1] is not None}
