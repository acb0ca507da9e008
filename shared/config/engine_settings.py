"""Settings of the default model and its engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.config.texts import layers, none_for_auto, split
from shared.engine.llama.memory import CacheType
from shared.engine.llama.offload import SplitMode
from shared.engine.speculation.options import SpeculationType
from shared.models.names import BUILTIN, default_name
from shared.protocol.model_names import MODEL_NAME


class EngineSettings(BaseSettings):
    """Where a model comes from, what it is called, and how it is run."""

    # Deferred, since pydantic would build a validator for each of the classes that `Settings` is
    # made of, one after the other with more fields, while nobody validates with any but the last.
    model_config = SettingsConfigDict(
        env_prefix="PILOTLIGHT_",
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
        populate_by_name=True,
        defer_build=True,
    )

    model: str = Field(
        default=BUILTIN,
        description="model to serve: a GGUF file's path, hf:OWNER/REPO:FILE, s3://BUCKET/KEY, "
        "'builtin', or 'none' where somebody else serves all (--models)",
        json_schema_extra={"short": "-m", "metavar": "SOURCE"},
    )
    model_cache: str | None = Field(
        default=None,
        min_length=1,
        description="directory where models from S3 are kept, or 'memory' for none (default: "
        "~/.cache/pilotlight/models, or memory where that can't be written)",
        json_schema_extra={"metavar": "DIRECTORY"},
    )
    alias: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="names that requests call the model by, comma-separated; the first one is "
        "shown (default: the file's name)",
        json_schema_extra={"short": "-a", "metavar": "NAME"},
    )
    ctx_size: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="tokens in the KV cache, all sequences together; 0 chooses 4096 for each, "
        "or a pool of 16384 where that takes more than 2 GiB (on a GPU: more than is free), or "
        "what fits",
        json_schema_extra={"short": "-c", "metavar": "TOKENS"},
    )
    parallel: int = Field(
        default=16,
        ge=1,
        le=256,
        description="sequences in one batch",
        json_schema_extra={"short": "-np", "metavar": "N"},
    )
    kv_unified: bool | None = Field(
        default=None,
        description="true: the KV cache is one pool, from which a request may take all; false: "
        "each of the parallel sequences has an equal share, which is faster for many (default: "
        "a pool for up to 4 parallel sequences, or where shares would be small)",
        json_schema_extra={"short": "-kvu", "opposites": ["-no-kvu"], "metavar": "BOOL"},
    )
    flash_attn: bool | None = Field(
        default=None,
        description="true: fused attention; false: separate operations, on a CPU faster for long "
        "answers (default: true, unless the CPU's kernel has no vector code for the model's heads)",
        json_schema_extra={"short": "-fa", "metavar": "BOOL"},
    )
    batch_size: int = Field(
        default=512,
        ge=1,
        description="tokens in one batch: a long prompt delays running streams by at most one",
        json_schema_extra={"short": "-b", "metavar": "TOKENS"},
    )
    ubatch_size: int = Field(
        default=0,
        ge=0,
        description="tokens that are computed at once, at most batch_size; 0 for all of a batch. "
        "Fewer take less memory",
        json_schema_extra={"short": "-ub", "metavar": "TOKENS"},
    )
    cache_type_k: CacheType = Field(
        default="f16",
        description="what keys in the KV cache are kept as: f32, f16, bf16, q8_0, q5_1, q5_0, "
        "q4_1, q4_0 or iq4_nl",
        json_schema_extra={"short": "-ctk", "metavar": "TYPE"},
    )
    cache_type_v: CacheType = Field(
        default="f16",
        description="the same for values; the q types switch flash_attn on",
        json_schema_extra={"short": "-ctv", "metavar": "TYPE"},
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="threads that compute; 0 takes all cores (on AWS Lambda what the memory pays "
        "for), or one for a tiny model or where a GPU has all layers",
        json_schema_extra={"short": "-t", "metavar": "N"},
    )
    n_gpu_layers: int = Field(
        default=-1,
        description="layers to offload to the GPU, -1 or 'all' for all (no effect in a CPU build)",
        json_schema_extra={"short": "-ngl", "others": ["--gpu-layers"], "metavar": "N"},
    )
    kv_offload: bool = Field(
        default=True,
        description="false: the KV cache and attention stay on the CPU, whatever the GPU has",
        json_schema_extra={"short": "-kvo", "opposites": ["-nkvo"], "metavar": "BOOL"},
    )
    split_mode: SplitMode = Field(
        default="layer",
        description="how several GPUs share the model: layer (whole layers each), row (parts of "
        "each layer) or none (one GPU has all)",
        json_schema_extra={"short": "-sm", "metavar": "MODE"},
    )
    main_gpu: int = Field(
        default=0,
        ge=0,
        description="the GPU for split_mode none",
        json_schema_extra={"short": "-mg", "metavar": "N"},
    )
    tensor_split: Annotated[list[Annotated[float, Field(ge=0, le=10**6)]], NoDecode] = Field(
        default=[],
        description="proportions of several GPUs, comma-separated: 3,1 (default: by free memory)",
        json_schema_extra={"short": "-ts", "metavar": "N"},
    )
    spec_type: Annotated[list[SpeculationType], NoDecode] = Field(
        default=["prediction"],
        min_length=1,
        description="where drafts of the next tokens come from, several of which are verified at "
        "once, comma-separated: none, prediction (the request's field), ngram-simple (prompt and "
        "answer, too), draft-simple (model_draft, which switches it on)",
        json_schema_extra={"metavar": "TYPE"},
    )
    model_draft: str | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        description="draft model: a smaller one of the same vocabulary; sources are as of model",
        json_schema_extra={"short": "-md", "others": ["--spec-draft-model"], "metavar": "SOURCE"},
    )
    spec_draft_n_max: int = Field(
        default=16,
        ge=1,
        le=64,
        description="tokens of the longest draft; how many there are follows what is accepted, and "
        "what they cost",
        json_schema_extra={"metavar": "TOKENS"},
    )
    spec_draft_n_min: int = Field(
        default=0,
        ge=0,
        le=64,
        description="tokens of the shortest draft that is used",
        json_schema_extra={"metavar": "TOKENS"},
    )
    spec_draft_p_min: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="the probability that a draft model has to give a token for it to be drafted",
        json_schema_extra={"others": ["--draft-p-min"], "metavar": "P"},
    )
    spec_draft_threads: int = Field(
        default=0,
        ge=0,
        description="threads that the draft model computes with; 0 as for the model",
        json_schema_extra={"short": "-td", "others": ["--threads-draft"], "metavar": "N"},
    )
    spec_draft_ngl: int = Field(
        default=-1,
        description="layers of the draft model to offload to the GPU, -1 or 'all' for all",
        json_schema_extra={
            "short": "-ngld",
            "others": ["--gpu-layers-draft", "--n-gpu-layers-draft"],
            "metavar": "N",
        },
    )
    n_predict: int = Field(
        default=0,
        ge=0,
        description="limit of completion tokens per choice, and the default of chat completions; "
        "0 leaves it to the context",
        json_schema_extra={"short": "-n", "others": ["--predict"], "metavar": "TOKENS"},
    )
    context_shift: bool = Field(
        default=False,
        description="true: completions go on when the context is full, without its older half, up "
        "to n_predict tokens",
        json_schema_extra={"metavar": "BOOL"},
    )
    chat_template_file: Path | None = Field(
        default=None,
        description="Jinja chat template to use instead of the one in the model's file",
        json_schema_extra={"metavar": "FILE"},
    )
    parse_special_in_content: bool = Field(
        default=False,
        description="true: control tokens written out in messages are read as such, not as text, "
        "so that whoever writes a message or a tool's result can end its turn and begin another",
        json_schema_extra={"metavar": "BOOL"},
    )
    max_queue: int = Field(
        default=256,
        ge=1,
        description="sequences (choices) of one API key that may wait for a place in the batch; "
        "more get 429",
        json_schema_extra={"metavar": "N"},
    )

    _split_names = field_validator("alias", "tensor_split", "spec_type", mode="before")(split)
    _read_all = field_validator("n_gpu_layers", "spec_draft_ngl", mode="before")(layers)
    _read_auto = field_validator("kv_unified", "flash_attn", mode="before")(none_for_auto)

    @field_validator("ubatch_size")
    @classmethod
    def _check_ubatch(cls, size: int, info: ValidationInfo) -> int:
        batch = info.data.get("batch_size")
        if batch is not None and size > batch:
            raise ValueError(f"{size} are more than the {batch} of a whole batch (--batch-size)")
        return size

    @field_validator("spec_type")
    @classmethod
    def _check_types(cls, types: list[SpeculationType]) -> list[SpeculationType]:
        if "none" in types and len(types) > 1:
            raise ValueError("'none' goes with no other type")
        return types

    @field_validator("model_draft")
    @classmethod
    def _check_draft_model(cls, source: str | None, info: ValidationInfo) -> str | None:
        types = info.data.get("spec_type", [])
        if source is None and "draft-simple" in types:
            raise ValueError("draft-simple (--spec-type) takes a draft model: name one")
        if source is not None and "none" in types:
            raise ValueError("nothing is drafted with --spec-type none, so name no draft model")
        return source

    @field_validator("spec_draft_n_min")
    @classmethod
    def _check_n_min(cls, n_min: int, info: ValidationInfo) -> int:
        n_max = info.data.get("spec_draft_n_max")
        if n_max is not None and n_min > n_max:
            raise ValueError(f"{n_min} are more than the longest draft has (--spec-draft-n-max)")
        return n_min

    @field_validator("alias")
    @classmethod
    def _check_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not re.fullmatch(MODEL_NAME, name) or len(name) > 256:
                raise ValueError(
                    f"'{name}' is no model name: it takes up to 256 letters, digits and . - _ / :, "
                    "and begins and ends with a letter or digit"
                )
        return names

    @property
    def names(self) -> tuple[str, ...]:
        """The names of ``model``."""
        return tuple(self.alias or [default_name(self.model)])
