"""``pilotlight alerts``, and ``limits --organization``, on the store itself."""

from __future__ import annotations

import pytest

from tests.cli.test_accounts_command import Run, run

__all__ = ["run"]


def test_alerts_are_created_listed_and_deleted(run: Run) -> None:
    assert "alerts create" in run("alerts", "list").stderr
    run("projects", "create", "shop")
    words = run("alerts", "create", "40", "--project", "shop", "--email", "a@b.c")
    assert words.status == 0, words.stderr
    assert "when project 'shop' has spent $40.00 in a month" in words.stdout
    made = run("alerts", "create", "39.90", "--organization", "--subject-prefix", "[llm]", "--json")
    assert made.json["notification_channel"]["subject_prefix"] == "[llm]"
    listed = run("alerts", "list").stdout
    for shown in ("shop", "a@b.c", "40.00", "(organization)", "39.90"):
        assert shown in listed
    assert len(run("alerts", "list", "--json").json) == 2
    (of_shop,) = run("alerts", "list", "--project", "shop", "--json").json
    (of_all,) = run("alerts", "list", "--organization", "--json").json
    assert of_all == made.json
    deleted = run("alerts", "delete", of_shop["id"], of_all["id"])
    assert sorted(deleted.stdout.split()) == sorted(
        ["deleted", of_shop["id"], "deleted", of_all["id"]]
    )
    assert run("alerts", "list", "--json").json == []
    gone = run("alerts", "delete", of_all["id"])
    assert (gone.status, f"there is no alert '{of_all['id']}'" in gone.stderr) == (1, True)


@pytest.mark.slow
def test_the_organizations_budget_is_set_and_shown(run: Run) -> None:
    assert "budget: none; $0.00 spent" in run("limits", "--organization").stdout
    assert "$12.50 a month" in run("limits", "--organization", "--budget", "12.50").stdout
    shown = run("limits", "--organization", "--json").json
    assert shown["spend_limit"]["threshold_amount"] == 1250
    refused = run("alerts", "create", "13", "--organization")
    assert (refused.status, "would never be sent" in refused.stderr) == (1, True)
    assert "budget: none" in run("limits", "--organization", "--budget", "none").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["limits"], 2, "Name a project, or say --organization"),
        (["limits", "shop", "--organization"], 2, "not both"),
        (["limits", "--organization", "--requests-per-day", "1"], 2, "a project's own"),
        (["alerts", "create", "none", "--organization"], 2, "no amount of dollars"),
        (["alerts", "create", "-1", "--organization"], 2, ""),
        (["alerts", "create", "1"], 2, "--project --organization is required"),
        (["alerts", "create", "1", "--project", "nobody"], 1, "there is no project 'nobody'"),
    ],
)
def test_mistakes_are_said(run: Run, arguments: list[str], status: int, said: str) -> None:
    done = run(*arguments)
    assert (done.status, said in done.stderr) == (status, True), done.stderr
