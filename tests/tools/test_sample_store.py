"""Sample content for the dashboard: what it says of itself is consistent, and all kinds are there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fill_sample_store import fill
from sample_store.organization import PRICES

from shared.accounts.accounts import Accounts, open_accounts
from shared.accounts.key_format import hash_of
from shared.config.settings import Settings
from shared.storage.location import open_store
from shared.storage.types import CompletionQuery, StoredCompletion

Filled = tuple[dict[str, str], Accounts, list[StoredCompletion]]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """Secrets of keys, the accounts, and all completions."""
    directory = tmp_path_factory.mktemp("sample")
    secrets = fill(directory, 60)
    store = open_store("sqlite", directory)
    assert store is not None
    with closing(store), closing(open_accounts("sqlite", directory)) as accounts:
        found: list[StoredCompletion] = []
        for project in accounts.projects.all():
            for kind in ("chat", "text"):
                query = CompletionQuery(tenant=project.id, kind=kind, limit=100)
                found += store.list(query).completions
        yield secrets, accounts, found


def test_projects_have_keys_limits_and_budgets(filled: Filled) -> None:
    secrets, accounts, _ = filled

    projects = {project.name: project for project in accounts.projects.all()}

    assert list(projects) == ["shop", "support desk", "research"]
    for name, secret in secrets.items():
        holder = accounts.keys.holder(hash_of(secret.encode()))
        assert holder is not None
        assert (holder.project.name if holder.project else "admin") == name
    assert projects["shop"].spend_limit is not None
    assert projects["shop"].rate_limits["small"].tokens_per_minute
    assert projects["research"].spend_limit is None


def test_completions_are_of_all_kinds(filled: Filled) -> None:
    _, _, completions = filled

    assert len(completions) == 60
    assert {completion.kind for completion in completions} == {"chat", "text"}
    reasons = {each.response["choices"][0]["finish_reason"] for each in completions}
    assert reasons == {"stop", "length", "tool_calls"}
    assert {each.model for each in completions} == set(PRICES)
    assert any(each.served_by for each in completions)
    assert any(each.response["choices"][0]["logprobs"] for each in completions)
    assert all(each.response["usage"]["cost"] > 0 for each in completions)


def test_the_servers_configuration_has_the_same_prices(tmp_path: Path) -> None:
    from sample_store.organization import CONFIGURATION

    path = tmp_path / "pilotlight.toml"
    path.write_text(CONFIGURATION, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        settings = Settings(alias=["small"])

        for model, (prompt, cached, completion) in PRICES.items():
            price = settings.price(model)
            assert price is not None
            tokens = price.tokens
            assert (tokens.prompt, tokens.cached, tokens.completion) == (prompt, cached, completion)
