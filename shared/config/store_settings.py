"""Settings of what is stored: completions, accounts, prices, alerts."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from shared.config.prices import Price
from shared.config.sampling_settings import SamplingSettings
from shared.config.texts import parse_json, split
from shared.config.upstreams import LOOPBACK
from shared.storage.location import check_location

Outage = Literal["allow", "refuse"]
_Days = Annotated[int, Field(ge=0, le=36_500)]
"""A hundred years at most: the ends of longer times are no numbers that stores have."""
_SHORTEST_SECRET = 24
"""Bytes, as Standard Webhooks have it."""


class StoreSettings(SamplingSettings):
    """Where completions and accounts are kept, and what becomes of them."""

    store: str = Field(
        default="sqlite",
        description="where requests with 'store': true keep completions: 'sqlite' (a file in the "
        "data directory), 'sqlite:PATH', 'dynamodb:TABLE,BUCKET' or 'none'",
        json_schema_extra={"metavar": "STORE"},
    )
    responses_store: bool = Field(
        default=False,
        description="true: responses (/v1/responses) are kept unless their request has 'store': "
        "false, as OpenAI has it",
        json_schema_extra={"metavar": "BOOL"},
    )
    background_responses: int = Field(
        default=16,
        ge=0,
        description="responses with 'background': true that run at once for one owner of keys; 0 "
        "refuses them. On pilotlight serve alone: elsewhere they are refused",
        json_schema_extra={"metavar": "N"},
    )
    accounts: bool = Field(
        default=False,
        description="true: keys of the accounts in the store are accepted too ('pilotlight keys "
        "create' makes one), and every request needs a key",
        json_schema_extra={"metavar": "BOOL"},
    )
    rate_limits_outage: Outage = Field(
        default="allow",
        description="what becomes of requests of projects with rate limits while the store of "
        "accounts does not answer: allow lets them pass unchecked, refuse answers 503",
        json_schema_extra={"metavar": "allow|refuse"},
    )
    budgets_outage: Outage = Field(
        default="refuse",
        description="the same for projects with a spend limit; allow may deliver what nobody pays",
        json_schema_extra={"metavar": "allow|refuse"},
    )
    webhook_secret: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        description="secrets that sign webhooks, comma-separated: whsec_ and the base64 of 24 "
        "random bytes or more. Each signs, so that they can be replaced one after the other",
        json_schema_extra={"metavar": "SECRET"},
    )
    webhook_url: str = Field(
        default="",
        description="URL that spend alerts are sent to as signed POST requests (default: they are "
        "in the log only)",
        json_schema_extra={"metavar": "URL"},
    )
    alert_topic: str = Field(
        default="",
        description="ARN of an SNS topic that spend alerts are sent to, too",
        json_schema_extra={"metavar": "ARN"},
    )
    usage_cost: bool = Field(
        default=False,
        description="true: answers to keys of projects have 'usage.cost', the dollars that the "
        "request costs by the model's prices",
        json_schema_extra={"metavar": "BOOL"},
    )
    data_dir: Path | None = Field(
        default=None,
        description="directory of the embedded store (default: ~/.local/share/pilotlight)",
        json_schema_extra={"metavar": "DIRECTORY"},
    )
    retention_days: _Days = Field(
        default=0,
        description="days after which stored completions are deleted; 0 keeps them",
        json_schema_extra={"metavar": "DAYS"},
    )
    tenant_retention_days: Annotated[dict[str, _Days], NoDecode] = Field(
        default={},
        description='the same for single tenants, as JSON: {"key-0123456789abcdef": 30}',
        json_schema_extra={"metavar": "JSON"},
    )
    prices: Annotated[dict[str, Price], NoDecode] = Field(
        default={},
        description="dollars per million tokens for each model, as JSON: "
        '{"NAME": {"prompt": 0.2, "cached": 0.05, "completion": 0.6}}; in the file a section '
        '[prices."NAME"] each. cached is the prompt\'s unless it is given',
        json_schema_extra={"metavar": "JSON"},
    )

    _split_secrets = field_validator("webhook_secret", mode="before")(split)
    _parse_tables = field_validator("tenant_retention_days", "prices", mode="before")(parse_json)

    @field_validator("store")
    @classmethod
    def _check_store(cls, location: str) -> str:
        return check_location(location)

    @field_validator("responses_store")
    @classmethod
    def _check_responses_store(cls, is_on: bool, info: ValidationInfo) -> bool:
        if is_on and info.data.get("store") == "none":
            raise ValueError("responses can't be kept without a store, which is 'none' (--store)")
        return is_on

    @field_validator("accounts")
    @classmethod
    def _check_accounts(cls, is_on: bool, info: ValidationInfo) -> bool:
        if is_on and info.data.get("store") == "none":
            raise ValueError("accounts need a store, which is 'none' (--store)")
        return is_on

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secrets(cls, secrets: list[SecretStr]) -> list[SecretStr]:
        for position, secret in enumerate(secrets, 1):
            prefix, _, encoded = secret.get_secret_value().partition("_")
            try:
                n_bytes = len(base64.b64decode(encoded, validate=True))
            except ValueError:
                n_bytes = 0
            if prefix != "whsec" or n_bytes < _SHORTEST_SECRET:
                # Not the value, which is secret.
                raise ValueError(
                    f"number {position} is not whsec_ and the base64 of {_SHORTEST_SECRET} bytes "
                    "or more; echo whsec_$(openssl rand -base64 32) prints one"
                )
        return secrets

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            host, scheme, _ = parts.hostname, parts.scheme, parts.port
        except ValueError:
            host, scheme = None, ""
        # Not the value, in which there may be a secret.
        if not host or scheme not in ("https", "http") or not url.isascii() or " " in url:
            raise ValueError("it is no URL such as https://example.com/alerts")
        if scheme == "http" and host not in LOOPBACK:
            raise ValueError("it has to begin with https:// unless it is this machine's")
        if not info.data.get("webhook_secret"):
            raise ValueError("webhooks are signed: it needs a secret (--webhook-secret)")
        return url

    @field_validator("alert_topic")
    @classmethod
    def _check_topic(cls, arn: str) -> str:
        topic = r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"
        if arn and not re.fullmatch(topic, arn):
            raise ValueError(
                "it is no SNS topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:alerts"
            )
        return arn

    @property
    def needs_key(self) -> bool:
        """Whether requests need an API key."""
        return bool(self.api_key or self.api_key_hash or self.accounts)
