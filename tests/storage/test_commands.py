"""``pilotlight store init`` and ``pilotlight completions`` on a table and a bucket."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from tests.storage.conversations import chat, user
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Names of a table and a bucket that are not there yet; the command finds their server."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": moto_url}.items():
        monkeypatch.setenv(name, value)
    return Aws.fresh(moto_url)


def run(aws: Aws, *arguments: str) -> int:
    """``pilotlight ARGUMENTS`` with the store; the exit status."""
    return main([*arguments, "--store", f"dynamodb:{aws.table},{aws.bucket}"])


def test_init_creates_table_and_bucket(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(aws, "store", "init") == 0
    assert run(aws, "store", "init") == 0

    assert capsys.readouterr().out == 2 * (
        f"The store is ready: table {aws.table} in DynamoDB, bucket {aws.bucket} in S3.\n"
    )
    with closing(aws.store()) as store:
        store.put(chat([user("Hi")], "Hello."))
        assert store.get("default", "chat", chat([user("Hi")], "Hello.").id)


def test_a_sweep_says_what_it_cleared(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    run(aws, "store", "init")
    capsys.readouterr()

    assert run(aws, "store", "sweep") == 0

    assert capsys.readouterr().out == "Cleared away: 0 completions.\n"


def test_an_empty_list_says_how_to_see_other_tenants(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    run(aws, "store", "init")
    capsys.readouterr()

    assert run(aws, "completions", "list") == 0

    assert capsys.readouterr().err == (
        "no stored completions of tenant 'default' (--tenant NAME looks at another tenant's)\n"
    )


def test_a_table_that_is_missing_is_said(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(aws, "completions", "list")

    printed = capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert printed.err.startswith("pilotlight: ")
    assert "store init" in printed.err


def test_completions_are_listed_shown_exported_and_deleted(
    aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(aws, "store", "init")
    completions = [
        chat([user(f"Praise {number}")], f"{number} is fine.", number=number)
        for number in range(250)
    ]
    aws.preload(completions)
    path = tmp_path / "lines.jsonl"
    capsys.readouterr()

    assert run(aws, "completions", "export", "--output", str(path)) == 0
    assert run(aws, "completions", "delete", "--yes", completions[-1].id) == 0
    assert run(aws, "completions", "list", "--json", "--limit", "1") == 0
    assert run(aws, "completions", "show", completions[0].id) == 0

    with path.open(encoding="utf-8") as file:
        asked = [json.loads(line)["messages"][0]["content"] for line in file]
    assert asked == [f"Praise {number}" for number in range(250)]
    deleted, listed, *shown = capsys.readouterr().out.splitlines()
    assert deleted == f"deleted {completions[-1].id}"
    assert json.loads(listed)["id"] == completions[-2].id
    assert shown[-1] == "0 is fine."
