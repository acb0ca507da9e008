"""Requests of projects while the store of accounts does not answer, by the settings for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import APIStatusError, InternalServerError, OpenAI

from shared.accounts.api_keys import ApiKeys
from shared.accounts.ledger.ledger import Ledger
from shared.storage.base import StoreError
from tests.api.tenants import Tenant, administered
from tests.app_server import AppServer

_REVERSED = ("--rate-limits-outage", "refuse", "--budgets-outage", "allow")


@pytest.fixture(scope="module", params=["defaults", "reversed"])
def is_reversed(request: pytest.FixtureRequest) -> bool:
    """Whether rate limits refuse and budgets allow: the defaults are the other way round."""
    return bool(request.param == "reversed")


@pytest.fixture(scope="module")
def admin_server(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory, is_reversed: bool
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server for `tests.api.tenants.tenant`."""
    options = _REVERSED if is_reversed else ()
    directory = tmp_path_factory.mktemp("outage")
    with administered(log_directory, directory, *options) as found:
        yield found


def _fail(*_: object, **__: object) -> None:
    raise StoreError("injected")


def _outages(tenant: Tenant) -> dict[str, float]:
    """Requests that were counted so far, by what became of them."""
    admin = {"authorization": f"Bearer {tenant.admin.admin_api_key}"}
    text = tenant.server.http.get("/metrics", headers=admin).raise_for_status().text
    name = "pilotlight_accounts_outage_requests_total"
    return {
        outcome: float(line.rpartition(" ")[2])
        for outcome in ("allowed", "refused")
        for line in text.splitlines()
        if line.startswith(f'{name}{{outcome="{outcome}"}}')
    }


def _counted(tenant: Tenant, before: dict[str, float]) -> dict[str, float]:
    """Requests that were counted since ``before``."""
    counts = {outcome: n - before.get(outcome, 0) for outcome, n in _outages(tenant).items()}
    return {outcome: n for outcome, n in counts.items() if n}


def _expect(tenant: Tenant, *, is_refused: bool) -> None:
    """Send a request, which is refused or not, and is counted as such once."""
    before = _outages(tenant)
    if is_refused:
        with pytest.raises(InternalServerError) as refused:
            tenant.chat()
        assert (refused.value.status_code, refused.value.code) == (503, "accounts_unavailable")
        assert refused.value.response.headers["retry-after"]
    else:
        assert tenant.chat().choices
    assert _counted(tenant, before) == {"refused" if is_refused else "allowed": 1}


@pytest.mark.parametrize("method", ["reserve", "settle"])
@pytest.mark.parametrize("has_budget", [False, True])
@pytest.mark.parametrize("has_limits", [False, True])
def test_requests_while_the_ledger_fails(
    tenant: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    is_reversed: bool,
    method: str,
    has_budget: bool,
    has_limits: bool,
) -> None:
    if has_limits:
        tenant.limit(max_tokens_per_1_minute=1000)
    if has_budget:
        tenant.budget(100)
    monkeypatch.setattr(Ledger, method, _fail)
    if method == "reserve" and not has_limits and not has_budget:
        assert tenant.chat().choices  # nothing is reserved
        return
    if is_reversed:
        _expect(tenant, is_refused=has_limits and method == "reserve")
    else:
        _expect(tenant, is_refused=has_budget)


def test_what_passes_unchecked_is_counted_where_that_works(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, is_reversed: bool
) -> None:
    if is_reversed:
        tenant.budget(100)
    else:
        tenant.limit(max_tokens_per_1_minute=1000)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "reserve", _fail)
        _expect(tenant, is_refused=False)
    (row,) = tenant.usage()
    assert row.num_model_requests == 1


def test_a_stream_that_cannot_be_billed_ends_with_an_error(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, is_reversed: bool
) -> None:
    tenant.budget(100)
    monkeypatch.setattr(Ledger, "settle", _fail)
    before = _outages(tenant)
    if is_reversed:
        assert [chunk.choices for chunk in tenant.chat(stream=True)]
    else:
        with pytest.raises(Exception, match="store of accounts does not answer"):
            list(tenant.chat(stream=True))
    assert _counted(tenant, before) == {"allowed" if is_reversed else "refused": 1}


def test_a_key_that_cannot_be_looked_up_is_refused(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _outages(tenant)
    with monkeypatch.context() as patched:
        patched.setattr(ApiKeys, "holder", _fail)
        with pytest.raises(APIStatusError) as refused:
            tenant.chat()
    assert (refused.value.status_code, refused.value.code) == (503, "accounts_unavailable")
    assert _counted(tenant, before) == {"refused": 1}
    assert tenant.chat().choices
