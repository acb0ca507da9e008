"""Request schemas of the administration API: bodies and query strings.

Fields that say where OpenAI keeps data, or who encrypts it, have no meaning here and are refused: a
caller who relies on one shall know.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from shared.protocol.model_names import MODEL_NAME
from shared.protocol.openai.stored_completions import PageQuery
from shared.protocol.strict import Items, Strict

_MAX_SECONDS = 100 * 366 * 86400
_MAX_MODELS = 256

Name = Annotated[str, Field(min_length=1, max_length=256)]
Seconds = Annotated[int, Field(ge=1, le=_MAX_SECONDS)]
Id = Annotated[str, Field(max_length=128)]


def _refuse(value: object) -> None:
    if value is not None:
        raise PydanticCustomError("unsupported_parameter", "it has no meaning on this server")


class ProjectUpdate(Strict):
    """Body of ``POST /v1/organization/projects/{project_id}``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "shop"}]})

    name: Name | None = None
    external_key_id: None = None
    geography: None = None

    _no_meaning = field_validator("external_key_id", "geography", mode="before")(_refuse)


class ProjectCreation(ProjectUpdate):
    """Body of ``POST /v1/organization/projects``."""

    name: Name
    residency: None = None

    _no_residency = field_validator("residency", mode="before")(_refuse)


class ServiceAccountCreation(Strict):
    """Body of ``POST …/service_accounts``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "web site"}]})

    name: Name
    create_service_account_only: bool | None = Field(
        default=None, description="True: no key is made, and the role is `none`."
    )
    expires_in_seconds: Seconds | None = Field(
        default=None, description="After which its first key ends; null for never."
    )

    @field_validator("expires_in_seconds")
    @classmethod
    def _check(cls, seconds: int | None, info: object) -> int | None:
        data = getattr(info, "data", {})
        if seconds is not None and data.get("create_service_account_only"):
            raise PydanticCustomError(
                "invalid_value", "there is no key to expire with 'create_service_account_only'"
            )
        return seconds


class ServiceAccountUpdate(Strict):
    """Body of ``POST …/service_accounts/{service_account_id}``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "web site"}]})

    name: Name | None = None
    role: Literal["member", "owner"] | None = None


class KeyCreation(Strict):
    """Body of ``POST …/service_accounts/{service_account_id}/api_keys``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "second"}]})

    name: Name | None = None
    expires_in_seconds: Seconds | None = Field(default=None, description="Null for never.")
    scopes: Annotated[list[str], Items(0)] | None = Field(
        default=None, description="None are known: a key may do all that its project may."
    )


class KeyUpdate(Strict):
    """Body of ``POST …/api_keys/{api_key_id}``: when it ends."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expires_in_seconds": 86400}]})

    expires_in_seconds: Seconds | None = None
    scopes: Annotated[list[str], Items(0)] | None = None


class AdminKeyCreation(Strict):
    """Body of ``POST /v1/organization/admin_api_keys``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "billing"}]})

    name: Name
    expires_in_seconds: Seconds | None = None


class ModelPermissionsUpdate(Strict):
    """Body of ``POST …/model_permissions``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"mode": "allow_list", "model_ids": ["small"]}]}
    )

    mode: Literal["allow_list", "deny_list"]
    model_ids: Annotated[
        list[Annotated[str, Field(pattern=f"^{MODEL_NAME}$", max_length=256)]], Items(_MAX_MODELS)
    ]


UNLIMITED = 2**31 - 1
"""What a rate limit is that is not set, since OpenAI's type has a number for each."""

Limit = Annotated[int, Field(ge=1, le=UNLIMITED)]


class RateLimitUpdate(Strict):
    """Body of ``POST …/rate_limits/{rate_limit_id}``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"max_tokens_per_1_minute": 100_000}]}
    )

    max_requests_per_1_minute: Limit | None = None
    max_tokens_per_1_minute: Limit | None = None
    max_requests_per_1_day: Limit | None = None
    batch_1_day_max_input_tokens: None = None
    max_audio_megabytes_per_1_minute: None = None
    max_images_per_1_minute: None = None

    _no_meaning = field_validator(
        "batch_1_day_max_input_tokens",
        "max_audio_megabytes_per_1_minute",
        "max_images_per_1_minute",
        mode="before",
    )(_refuse)


class ServiceTierUpdate(Strict):
    """Body of ``POST …/service_tier_settings``; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled_tiers": ["fast"]}]})

    default: Literal["standard", "fast", "scale"] | None = None
    enabled_tiers: (
        Literal["all"] | Annotated[list[Literal["flex", "fast", "ultrafast"]], Items(3)] | None
    ) = None


class SpendLimitUpdate(Strict):
    """Body of ``POST …/spend_limit``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"currency": "USD", "interval": "month", "threshold_amount": 5000}]
        }
    )

    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Annotated[int, Field(ge=0, le=10**11)] = Field(description="Cents.")


class ProjectsQuery(PageQuery):
    """Query string of a list of projects."""

    include_archived: bool = Field(default=False, description="True: archived ones too.")


class KeysQuery(PageQuery):
    """Query string of a list of a project's keys."""

    owner_project_access: Literal["active", "inactive", "any"] = Field(
        default="any", description="Keys whose service account is there (`active`) or was deleted."
    )


class AuditLogQuery(PageQuery):
    """Query string of the audit log, whose newest events come first."""

    event_types: Annotated[list[str], Items(64)] = Field(default=[], alias="event_types[]")
    project_ids: Annotated[list[Id], Items(64)] = Field(default=[], alias="project_ids[]")
    actor_ids: Annotated[list[Id], Items(64)] = Field(default=[], alias="actor_ids[]")
    resource_ids: Annotated[list[Id], Items(64)] = Field(default=[], alias="resource_ids[]")
    gt: int | None = Field(default=None, alias="effective_at[gt]")
    gte: int | None = Field(default=None, alias="effective_at[gte]")
    lt: int | None = Field(default=None, alias="effective_at[lt]")
    lte: int | None = Field(default=None, alias="effective_at[lte]")
