"""Projects with keys on a server with accounts and prices, for the tests of metering."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from shared.accounts.accounts import open_accounts
from shared.accounts.audit_log import Actor
from tests.app_server import AppServer
from tests.server import CAPITAL

MESSAGES: Any = CAPITAL

PRICES = '{"small": {"prompt": 100, "cached": 10, "completion": 1000}}'


@pytest.fixture(scope="module")
def admin_server(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts and prices, and its administrator's client."""
    with administered(log_directory, tmp_path_factory.mktemp("metering")) as found:
        yield found


@contextmanager
def administered(
    log_directory: Path, directory: Path, *options: str
) -> Iterator[tuple[AppServer, OpenAI]]:
    """The same with further options of ``pilotlight serve``; accounts are in ``directory``."""
    with closing(open_accounts("sqlite", directory)) as accounts:
        _, secret = accounts.keys.issue(Actor(), "operator", None)
    common = ("--accounts", "true", "--data-dir", str(directory), "--prices", PRICES)
    log = log_directory / f"{directory.name}.log"
    server = AppServer(log, *common, "--alias", "small,s", *options)
    try:
        yield server, server.openai(admin_api_key=secret)
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project with a key, and the administrator's client."""

    server: AppServer
    admin: OpenAI
    project: str
    key: str
    key_id: str

    def client(self, **options: Any) -> OpenAI:
        """The project's client."""
        return self.server.openai(api_key=self.key, **options)

    def chat(self, **fields: Any) -> Any:
        """A completion of a token, unless it is said otherwise."""
        fields = {"messages": MESSAGES, "max_tokens": 1, "model": "small", **fields}
        return self.client().chat.completions.create(**fields)

    def limit(self, **limits: Any) -> None:
        """Set rate limits; they hold at once for a key that nobody has used."""
        self.admin.admin.organization.projects.rate_limits.update_rate_limit(
            "rl-small", project_id=self.project, **limits
        )

    def budget(self, cents: int) -> None:
        """Set the spend limit."""
        self.admin.admin.organization.projects.spend_limit.update(
            self.project, currency="USD", interval="month", threshold_amount=cents
        )

    def usage(self, **query: Any) -> list[Any]:
        """Results of today's bucket."""
        query = {"start_time": int(time.time()) // 86400 * 86400, **query}
        page = self.admin.admin.organization.usage.completions(project_ids=[self.project], **query)
        return [result for bucket in page.data for result in bucket.results]

    def costs(self, **query: Any) -> list[Any]:
        """Results of today's bucket."""
        start = int(time.time()) // 86400 * 86400
        page = self.admin.admin.organization.usage.costs(
            start_time=start, project_ids=[self.project], **query
        )
        return [result for bucket in page.data for result in bucket.results]


@pytest.fixture
def tenant(admin_server: tuple[AppServer, OpenAI]) -> Tenant:
    """A project of the test's own."""
    return new_tenant(*admin_server)


def new_tenant(server: AppServer, admin: OpenAI) -> Tenant:
    """A new project with a key."""
    projects = admin.admin.organization.projects
    project = projects.create(name="shop")
    made = projects.service_accounts.create(project.id, name="web")
    assert made.api_key is not None
    return Tenant(server, admin, project.id, made.api_key.value, made.api_key.id)
