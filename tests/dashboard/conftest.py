"""Deployments on each store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard.deployment import Deployment
from tests.storage.dynamodb.aws import PATIENT, Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """One that keeps everything in SQLite."""
    deployment = Deployment.make(store="sqlite", data_dir=tmp_path)
    yield deployment
    deployment.close()


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.integration)])
def each_deployment(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """One on each store in turn."""
    if request.param == "sqlite":
        deployment = Deployment.make(store="sqlite", data_dir=tmp_path)
    else:
        aws: Aws = request.getfixturevalue("shared_aws")
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": aws.url}.items():
            monkeypatch.setenv(name, value)
        for module in ("shared.storage.dynamodb.store", "shared.accounts.dynamodb_records"):
            monkeypatch.setattr(f"{module}.RetryPolicy", lambda: PATIENT)
        deployment = Deployment.make(store=f"dynamodb:{aws.table},{aws.bucket}")
    yield deployment
    deployment.close()
