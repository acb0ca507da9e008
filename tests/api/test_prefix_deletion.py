"""Deletion of what the prefix cache has of a project that is archived."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.api.tenants import administered
from tests.app_server import AppServer

LONG = "The keeper of the lighthouse counts the ships that pass it in the night. " * 40


@pytest.fixture
def stored(tmp_path: Path, log_directory: Path) -> Iterator[tuple[AppServer, OpenAI, Path]]:
    """A server with accounts and a store of prefixes, its administrator, and the store."""
    store = tmp_path / "prefixes"
    options = ("--prefix-store", str(store), "--ctx-size", "4096", "--parallel", "1")
    with administered(log_directory, tmp_path / "accounts", *options) as (server, admin):
        yield server, admin, store


def n_files(store: Path) -> int:
    return sum(1 for path in store.rglob("*") if path.is_file())


def project(admin: OpenAI) -> tuple[str, str]:
    """Its id and a key."""
    organization: Any = admin.admin.organization
    made = organization.projects.create(name="shop")
    account = organization.projects.service_accounts.create(made.id, name="web")
    return made.id, account.api_key.value


def ask(server: AppServer, key: str) -> int:
    """Cached tokens of a long prompt that is stored."""
    answer = server.openai(api_key=key).chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": LONG}],
        max_tokens=1,
        prompt_cache_retention="24h",
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    return answer.usage.prompt_tokens_details.cached_tokens or 0


@pytest.mark.slow
def test_an_archived_projects_prefixes_are_deleted(
    stored: tuple[AppServer, OpenAI, Path],
) -> None:
    server, admin, store = stored
    one, two = project(admin), project(admin)
    ask(server, one[1])
    n_of_one = n_files(store)
    ask(server, two[1])
    assert n_files(store) == 2 * n_of_one > 2

    admin.admin.organization.projects.archive(one[0])

    assert n_files(store) == n_of_one
    assert ask(server, two[1]) > 512


@pytest.mark.slow
def test_a_store_that_fails_keeps_nobody_from_archiving(
    stored: tuple[AppServer, OpenAI, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, admin, store = stored
    project_id, key = project(admin)
    ask(server, key)

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        archived = admin.admin.organization.projects.archive(project_id)

    assert archived.status == "archived"
    assert n_files(store) > 0
    shutil.rmtree(store)
