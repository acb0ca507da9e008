"""``/v1/organization``: OpenAI's administration API, for admin keys. Needs no model."""

from __future__ import annotations

from functions.http.endpoints.administration import (
    admin_keys,
    audit_log,
    key_holder,
    limits,
    organization_limits,
    project_keys,
    projects,
    service_accounts,
    spend_alerts,
    usage,
)

routers = (
    projects.router,
    service_accounts.router,
    project_keys.router,
    admin_keys.router,
    limits.router,
    organization_limits.router,
    spend_alerts.router,
    usage.router,
    audit_log.router,
    key_holder.router,
)
