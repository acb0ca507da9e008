"""Own models, as settings have them: models besides the default one that this server loads itself.

A section ``[models."NAME"]`` with a ``source``. What it leaves open is as for the default model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.config.prices import Price
from shared.config.settings_file import did_you_mean
from shared.config.stand_ins import STAND_IN_FIELDS
from shared.protocol.model_names import is_model_name

MODEL_SETTINGS = (
    *("alias", "ctx_size", "parallel", "kv_unified", "flash_attn", "batch_size", "ubatch_size"),
    *("cache_type_k", "cache_type_v", "threads", "n_gpu_layers", "kv_offload", "split_mode"),
    *("spec_type", "model_draft", "spec_draft_n_max", "spec_draft_n_min", "spec_draft_p_min"),
    *("spec_draft_threads", "spec_draft_ngl"),
    *("main_gpu", "tensor_split", "n_predict", "context_shift", "max_queue", "chat_template_file"),
    *("parse_special_in_content", "prefix_memory", "warm_prefix"),
)
"""Settings that each own model may have of its own."""


class OwnModel(BaseModel):
    """A section of a model that this server loads; further fields are `MODEL_SETTINGS`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    source: str = Field(min_length=1)
    load: Literal["first-use", "start"] = "first-use"
    defaults: dict[str, Any] = {}
    price: Price | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that differ from the default model's."""
        extra = self.model_extra or {}
        return {name: value for name, value in extra.items() if name not in STAND_IN_FIELDS}


def is_own(section: Mapping[str, Any]) -> bool:
    """Whether a section of ``models`` is of a model that this server loads."""
    return "source" in section


def own_sections(models: Mapping[str, Mapping[str, Any]]) -> dict[str, OwnModel]:
    """The own models among the sections, by name; raises `ValueError`, which names the section."""
    found: dict[str, OwnModel] = {}
    for name, section in models.items():
        if not is_own(section):
            continue
        where = f'[models."{name}"]'
        if "upstream" in section:
            raise ValueError(
                f"{where}: it has a 'source', to be loaded here, and an 'upstream': take one away"
            )
        if not is_model_name(name):
            raise ValueError(
                f"{where}: this is no model name: it takes up to 256 letters, digits and "
                ". - _ / :, and begins and ends with a letter or digit"
            )
        try:
            found[name] = OwnModel.model_validate(section)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, detail["loc"]))
            raise ValueError(f"{where}: '{field}': {detail['msg']}") from None
        for field in found[name].settings:
            if field not in MODEL_SETTINGS:
                raise ValueError(f"{where}: {_unknown(field)}")
    return found


def _unknown(field: str) -> str:
    known = [*OwnModel.model_fields, *MODEL_SETTINGS]
    hint = did_you_mean(field, known) or "; defaults of request fields go into 'defaults'"
    return f"a model's section has no field '{field}'{hint}"
