"""docs/administration.md has every call and field of OpenAI's administration API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.admin import organization
from openai.types.admin import organization as org
from openai.types.admin.organization import projects
from openai.types.admin.organization.projects import service_accounts

from functions.http.app import create_app
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from tests.docs.fields import fields

_PAGE = (Path(__file__).parents[2] / "docs" / "administration.md").read_text(encoding="utf-8")

_REQUESTS: dict[str, type] = {
    "projects.create": org.project_create_params.ProjectCreateParams,
    "projects.list": org.project_list_params.ProjectListParams,
    "projects.update": org.project_update_params.ProjectUpdateParams,
    "projects.service_accounts.create": (
        projects.service_account_create_params.ServiceAccountCreateParams
    ),
    "projects.service_accounts.list": projects.service_account_list_params.ServiceAccountListParams,
    "projects.service_accounts.update": (
        projects.service_account_update_params.ServiceAccountUpdateParams
    ),
    "projects.service_accounts.api_keys.create": (
        service_accounts.api_key_create_params.APIKeyCreateParams
    ),
    "projects.api_keys.list": projects.api_key_list_params.APIKeyListParams,
    "projects.api_keys.update": projects.api_key_update_params.APIKeyUpdateParams,
    "projects.model_permissions.update": (
        projects.model_permission_update_params.ModelPermissionUpdateParams
    ),
    "projects.rate_limits.list_rate_limits": (
        projects.rate_limit_list_rate_limits_params.RateLimitListRateLimitsParams
    ),
    "projects.rate_limits.update_rate_limit": (
        projects.rate_limit_update_rate_limit_params.RateLimitUpdateRateLimitParams
    ),
    "projects.service_tier_settings.update": (
        projects.service_tier_setting_update_params.ServiceTierSettingUpdateParams
    ),
    "projects.spend_limit.update": projects.spend_limit_update_params.SpendLimitUpdateParams,
    "projects.spend_alerts.create": projects.spend_alert_create_params.SpendAlertCreateParams,
    "projects.spend_alerts.list": projects.spend_alert_list_params.SpendAlertListParams,
    "projects.spend_alerts.update": projects.spend_alert_update_params.SpendAlertUpdateParams,
    "spend_alerts.create": org.spend_alert_create_params.SpendAlertCreateParams,
    "spend_alerts.list": org.spend_alert_list_params.SpendAlertListParams,
    "spend_alerts.update": org.spend_alert_update_params.SpendAlertUpdateParams,
    "spend_limit.update": org.spend_limit_update_params.SpendLimitUpdateParams,
    "usage.completions": org.usage_completions_params.UsageCompletionsParams,
    "usage.costs": org.usage_costs_params.UsageCostsParams,
    "admin_api_keys.create": org.admin_api_key_create_params.AdminAPIKeyCreateParams,
    "admin_api_keys.list": org.admin_api_key_list_params.AdminAPIKeyListParams,
    "audit_logs.list": org.audit_log_list_params.AuditLogListParams,
}
_IN_PATHS = ("project_id", "effective_at")
"""Parameters of the client that are in a path, or consist of others."""
_ANSWERS: dict[str, type] = {
    "Project": organization.Project,
    "ProjectServiceAccount": projects.ProjectServiceAccount,
    "ServiceAccountCreateResponse": projects.ServiceAccountCreateResponse,
    "APIKeyCreateResponse": service_accounts.APIKeyCreateResponse,
    "ProjectAPIKey": projects.ProjectAPIKey,
    "ProjectRateLimit": projects.ProjectRateLimit,
    "ProjectServiceTierSettings": projects.ProjectServiceTierSettings,
    "ProjectSpendLimit": projects.ProjectSpendLimit,
    "OrganizationSpendLimit": organization.OrganizationSpendLimit,
    "ProjectSpendAlert": projects.ProjectSpendAlert,
    "OrganizationSpendAlert": organization.OrganizationSpendAlert,
    "AdminAPIKey": organization.AdminAPIKey,
    "ProjectModelPermissions": projects.ProjectModelPermissions,
}


def _rows(table: str) -> list[list[str]]:
    lines = _PAGE.split(f"<!-- {table} -->\n")[1].split("\n<!-- end -->")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _calls(resource: Any, prefix: str = "") -> Iterator[str]:
    """The calls of OpenAI's client below a resource."""
    for name in dir(type(resource)):
        if name.startswith("_") or name in ("with_raw_response", "with_streaming_response"):
            continue
        value = getattr(resource, name)
        if hasattr(value, "_client"):
            yield from _calls(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


CALLS = sorted(_calls(OpenAI(api_key="unused", admin_api_key="unused").admin.organization))
_DOCUMENTED = [name for row in _rows("calls") for name in _quoted(row[0])]


@pytest.mark.parametrize("call", CALLS)
def test_each_call_has_one_row(call: str) -> None:
    found = [
        name
        for name in _DOCUMENTED
        if name == call or (name.endswith("…") and call.startswith(f"{name[:-1]}."))
    ]
    assert len(found) == 1, found


def test_no_row_is_about_a_call_that_is_not_there() -> None:
    for name in _DOCUMENTED:
        assert any(call == name or call.startswith(f"{name[:-1]}.") for call in CALLS), name


def test_the_server_has_what_the_page_says() -> None:
    settings = Settings(accounts=True)
    app = create_app(settings, ModelLoader(settings))
    routes = {
        f"{method} {getattr(route, 'path', '')}"
        for route in app.resources().routes
        for method in getattr(route, "methods", None) or ()
        if "/organization/" in getattr(route, "path", "")
    }
    documented = set()
    for _, path, here in _rows("calls"):
        if not path:
            assert here.startswith("no: ")
            continue
        assert here.startswith("yes")
        method, _, rest = path.strip("`").partition(" ")
        rest = rest.replace("…", "projects/{project_id}")
        documented.add(f"{method} /v1/organization/{rest}")
    assert documented == {route.replace(":path}", "}") for route in routes}


@pytest.mark.parametrize("call", _REQUESTS)
def test_each_field_of_a_request_has_one_row(call: str) -> None:
    documented = [
        name for row in _rows("requests") if _quoted(row[0]) == [call] for name in _quoted(row[1])
    ]
    known = [path for path in fields(_REQUESTS[call]) if path not in _IN_PATHS]
    # What is inside of a field that has no meaning here is its row's.
    expected = [path for path in known if not path.startswith("residency.")]
    assert sorted(documented) == sorted(expected)


@pytest.mark.parametrize("name", _ANSWERS)
def test_each_field_of_an_answer_has_one_row(name: str) -> None:
    documented = [
        field for row in _rows("answers") if _quoted(row[0]) == [name] for field in _quoted(row[1])
    ]
    expected = [path for path in fields(_ANSWERS[name]) if not path.startswith("residency.")]
    assert sorted(documented) == sorted(expected)
