"""``pilotlight limits``, ``usage`` and ``costs``, on the store itself."""

from __future__ import annotations

import csv
import io
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from shared.accounts.accounts import open_accounts
from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from tests.cli.test_accounts_command import Run, run

__all__ = ["run"]


@pytest.fixture
def project(run: Run, tmp_path: Path) -> str:
    """A project with two requests today, which cost 0.000000123 dollars together."""
    project_id = str(run("projects", "create", "shop", "--json").json["id"])
    with closing(open_accounts("sqlite", tmp_path)) as accounts:
        for user, cost in (("ada", 100), (None, 23)):
            asked = Reservation(
                id=str(user), model="small", tokens=9, cost=500, expires_at=int(time.time()) + 60
            )
            group = Group(key_id="key_1", model="small", tier="default", user=user)
            used = Usage(requests=1, prompt=5, cached=1, completion=2, completion_cost=cost)
            accounts.ledger.settle(project_id, asked, group, used)
    return project_id


def test_limits_are_set_and_shown(run: Run, project: str) -> None:
    assert "budget: none" in run("limits", "shop").stdout
    changed = run(
        "limits", project, "--model", "small", "--tokens-per-minute", "1000", "--budget", "12.50"
    )
    assert changed.status == 0, changed.stderr
    for shown in (changed.stdout, run("limits", "shop").stdout):
        assert "1000" in shown
        assert "$12.50" in shown
    removed = run(
        "limits", "shop", "--model", "small", "--tokens-per-minute", "none", "--budget", "none"
    )
    assert "1000" not in removed.stdout
    assert "budget: none" in removed.stdout


def test_usage_is_summed_up(run: Run, project: str) -> None:
    shown = run("usage", "--project", "shop")
    assert shown.status == 0, shown.stderr
    assert "10" in shown.stdout.split()
    rows = list(csv.DictReader(io.StringIO(run("usage", "--by", "user,model", "--csv").stdout)))
    assert sorted((row["user_id"], row["requests"], row["input_tokens"]) for row in rows) == [
        ("", "1", "5"),
        ("ada", "1", "5"),
    ]
    assert {row["model"] for row in rows} == {"small"}


def test_an_invoice_is_exact(run: Run, project: str) -> None:
    done = run("costs", "--project", project, "--by", "line-item", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert sum(Decimal(row["dollars"]) for row in rows) == Decimal("0.000000123")
    assert {row["line_item"] for row in rows} >= {"small, output_tokens"}


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["limits", "nobody"], 1, "there is no project 'nobody'"),
        (["limits", "shop", "--budget", "-1"], 2, "--budget"),
        (["limits", "shop", "--requests-per-minute", "0"], 2, "--requests-per-minute"),
        (["usage", "--by", "colour"], 2, "colour"),
        (["usage", "--since", "soon"], 2, "'soon' is no time"),
        (["costs", "--project", "nobody"], 1, "there is no project 'nobody'"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_is_wrong_is_said(run: Run, arguments: list[str], status: int, text: str) -> None:
    done = run(*arguments)
    assert (done.status, text in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
