"""Upstream models, as settings have them: models that somebody else serves."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.config.prices import Price
from shared.config.settings_file import did_you_mean
from shared.config.upstream_keys import UpstreamKey
from shared.protocol.model_names import is_model_name

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_BEDROCK_HOST = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.(?P<region>[a-z0-9-]+)\.")


class UpstreamModel(BaseModel):
    """A section ``[models."NAME"]`` with an ``upstream``.

    ``key`` is what the reference in the configuration stands for. ``defaults``, by the names of
    request fields, are checked by `shared.config.request_defaults`, which takes a while to import.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    upstream: str
    key: UpstreamKey | None = None
    dialect: Literal["openai", "anthropic", "bedrock"] = "openai"
    mode: Literal["direct", "adapter"]
    model: str | None = Field(default=None, min_length=1, max_length=1024)
    timeout: float = Field(default=600, gt=0, le=86400)
    max_answer_size: int = Field(default=32 * 2**20, ge=1)
    price: Price | None = None
    defaults: dict[str, Any] = {}
    max_failures: int = Field(default=5, ge=0)

    @property
    def served_by(self) -> str:
        """Host, and the port where it is not the scheme's own."""
        return urlsplit(self.upstream).netloc

    @property
    def region(self) -> str | None:
        """AWS' region that the URL names, or that the environment does."""
        found = _BEDROCK_HOST.search(urlsplit(self.upstream).hostname or "")
        if found is not None:
            return found["region"]
        return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")

    @field_validator("upstream")
    @classmethod
    def _check_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        # Not the value, in which there may be a secret.
        if not host or parts.scheme not in ("https", "http") or not re.fullmatch("[!-~]+", url):
            raise ValueError("it is no URL such as https://api.openai.com/v1")
        if parts.scheme == "http" and host not in LOOPBACK:
            raise ValueError("it has to begin with https:// unless it is this machine's")
        if "@" in parts.netloc or parts.query or parts.fragment or "\\" in url:
            raise ValueError("it has to be a URL of host, port and path, and nothing else")
        return url.rstrip("/")

    @field_validator("key", mode="before")
    @classmethod
    def _look_up(cls, reference: object) -> UpstreamKey:
        # A number, say, is no reference either.
        return UpstreamKey(reference if isinstance(reference, str) else "")

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode == "adapter":
            return self
        if self.dialect != "openai":
            raise ValueError(
                f"'mode' has to be 'adapter' with the dialect '{self.dialect}': callers speak "
                "OpenAI's API, so requests and answers have to be translated"
            )
        if self.defaults:
            raise ValueError(
                "'defaults' needs mode = 'adapter': in direct mode requests pass as they are"
            )
        return self

    @model_validator(mode="after")
    def _check_region(self) -> Self:
        if self.dialect == "bedrock" and self.key is None and self.region is None:
            raise ValueError(
                "'upstream' names no region, which AWS credentials need: say "
                "https://bedrock-runtime.REGION.amazonaws.com, or set AWS_REGION"
            )
        return self


def is_upstream(section: Mapping[str, Any]) -> bool:
    """Whether a section of ``models`` is of a model that somebody else serves."""
    return "upstream" in section


def upstream_models(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, UpstreamModel]:
    """The upstream models among ``sections``, by name.

    Raises `ValueError`, which names section and field.
    """
    found: dict[str, UpstreamModel] = {}
    for name, section in sections.items():
        if not is_upstream(section):
            continue
        where = f'[models."{name}"]'
        if not is_model_name(name):
            raise ValueError(
                f"{where}: this is no model name: it takes up to 256 letters, digits and "
                ". - _ / :, and begins and ends with a letter or digit"
            )
        try:
            fields = {key: value for key, value in section.items() if key != "fallback"}
            found[name] = UpstreamModel.model_validate(fields)
        except ValidationError as error:
            raise ValueError(f"{where}: {_reason(error)}") from None
    return found


def _reason(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = Price.model_fields if len(detail["loc"]) > 1 else UpstreamModel.model_fields
        return f"unknown field '{field}'{did_you_mean(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return f"'{field}' is missing" + (": say 'adapter' or 'direct'" if field == "mode" else "")
    message = detail["msg"].removeprefix("Value error, ")
    return f"'{field}': {message}" if field else message
