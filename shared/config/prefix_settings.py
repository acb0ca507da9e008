"""Settings of the prefix cache: what is kept of prompts that were evaluated, and where."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from shared.config.engine_settings import EngineSettings
from shared.config.texts import split
from shared.storage.prefixes.location import check_prefix_store


class PrefixSettings(EngineSettings):
    """Where the states of prompts' beginnings are kept, besides the KV cache."""

    prefix_memory: int = Field(
        default=0,
        ge=0,
        description="bytes of the host's memory for beginnings of prompts that had to leave the "
        "KV cache, for each model (a prefix cache, docs/prefix-cache.md); 0 for none",
        json_schema_extra={"metavar": "BYTES"},
    )
    prefix_store: str = Field(
        default="",
        description="where beginnings of prompts are kept for other processes, too: a directory, "
        "or s3://BUCKET/PREFIX (default: nowhere)",
        json_schema_extra={"metavar": "DIR"},
    )
    prefix_store_size: int = Field(
        default=10 * 2**30,
        ge=1,
        description="bytes of a directory of prefixes; the oldest are deleted. A bucket needs a "
        "lifecycle rule",
        json_schema_extra={"metavar": "BYTES"},
    )
    prefix_store_hours: float = Field(
        default=24,
        gt=0,
        le=876_000,
        description="hours for which a stored prefix is used",
        json_schema_extra={"metavar": "HOURS"},
    )
    prefix_timeout: float = Field(
        default=2,
        gt=0,
        le=60,
        description="seconds that a request waits at most for the store of prefixes: before its "
        "prompt is evaluated for reading, and at its end for writing",
        json_schema_extra={"metavar": "SECONDS"},
    )

    warm_prefix: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="files, or s3://BUCKET/KEY, comma-separated, with what many prompts begin "
        "with, for all API keys: "
        "messages as JSON, or the text of a system message. Evaluated at the start, and before a "
        "snapshot is taken",
        json_schema_extra={"metavar": "FILE"},
    )

    _split_files = field_validator("warm_prefix", mode="before")(split)

    @field_validator("prefix_store")
    @classmethod
    def _check_prefix_store(cls, location: str) -> str:
        return check_prefix_store(location)
