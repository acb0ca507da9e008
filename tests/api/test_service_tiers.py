"""Service tiers of projects: priority where it is enabled, and the default where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.tenants import Tenant


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("settings", "asked", "got"),
    [
        ({}, None, "default"),
        ({}, "priority", "default"),
        ({}, "fast", "default"),
        ({}, "flex", "flex"),
        ({"enabled_tiers": ["fast"]}, "priority", "priority"),
        ({"enabled_tiers": ["fast"]}, "fast", "priority"),
        ({"enabled_tiers": ["fast"]}, None, "default"),
        ({"enabled_tiers": "all", "default": "fast"}, None, "priority"),
        ({"enabled_tiers": "all", "default": "fast"}, "auto", "priority"),
        ({"enabled_tiers": "all", "default": "fast"}, "default", "default"),
        ({"enabled_tiers": ["flex"], "default": "fast"}, None, "default"),
    ],
)
def test_a_project_gets_the_tier_that_it_may(
    tenant: Tenant, settings: dict[str, Any], asked: str | None, got: str
) -> None:
    tiers = tenant.admin.admin.organization.projects.service_tier_settings
    if settings:
        changed = tiers.update(tenant.project, **settings)
        assert tiers.retrieve(tenant.project) == changed
    fields = {} if asked is None else {"service_tier": asked}
    assert tenant.chat(**fields).service_tier == got
    (row,) = tenant.usage(group_by=["service_tier"])
    assert row.service_tier == got
