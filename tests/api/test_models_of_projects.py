"""``/v1/models`` for a project's key: the models that it may use, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from openai import NotFoundError

from tests.api.tenants import Tenant
from tests.server import CAPITAL


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("policy", "is_listed"),
    [
        (None, True),
        ({"mode": "allow_list", "model_ids": ["small"]}, True),
        ({"mode": "allow_list", "model_ids": ["s"]}, True),
        ({"mode": "allow_list", "model_ids": ["large"]}, False),
        ({"mode": "allow_list", "model_ids": []}, False),
        ({"mode": "deny_list", "model_ids": ["large"]}, True),
        ({"mode": "deny_list", "model_ids": ["s"]}, False),
    ],
)
def test_models_are_those_that_the_project_may_use(
    tenant: Tenant, policy: dict[str, Any] | None, is_listed: bool
) -> None:
    if policy is not None:
        permissions = tenant.admin.admin.organization.projects.model_permissions
        permissions.update(tenant.project, **policy)
    client = tenant.client()
    assert [model.id for model in client.models.list()] == ["small"] * is_listed
    for name in ("small", "s"):
        if is_listed:
            assert client.models.retrieve(name).id == name
        else:
            with pytest.raises(NotFoundError):
                client.models.retrieve(name)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"content": "x"}),
        ("/detokenize", {"tokens": [1]}),
        ("/apply-template", {"messages": CAPITAL}),
        ("/v1/chat/completions/input_tokens", {"messages": CAPITAL}),
        ("/v1/responses/input_tokens", {"input": "x"}),
        ("/v1/messages/count_tokens", {"messages": CAPITAL}),
        ("/props", None),
        ("/slots", None),
    ],
)
def test_another_model_tells_nothing(
    tenant: Tenant, path: str, body: dict[str, Any] | None
) -> None:
    permissions = tenant.admin.admin.organization.projects.model_permissions
    permissions.update(tenant.project, mode="deny_list", model_ids=["small"])
    response = tenant.server.http.request(
        "GET" if body is None else "POST",
        path,
        json=body,
        headers={"authorization": f"Bearer {tenant.key}"},
    )
    assert response.status_code == 403
    assert "may not use the model 'small'" in response.json()["error"]["message"]
