"""`docs/operations.md` against what the functions emit and what the template makes."""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions.aws_lambda import json_logs
from shared.accounts.accounts import open_accounts
from shared.accounts.audit_log import Actor
from shared.accounts.documents import hash_place
from shared.accounts.key_format import hash_of
from tests.aws_lambda.events import http_api_event
from tests.aws_lambda.function import INFERENCE, Function
from tests.aws_lambda.runtime_api import RuntimeApi
from tests.infra.template import of_type, read
from tests.server import CAPITAL
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
_QUERY = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMES_IN_CELL = re.compile(r"`([A-Za-z0-9_]+)`")

_INSIGHTS = {
    *("filter", "fields", "stats", "sort", "limit", "by", "as", "asc", "desc", "and", "or"),
    *("count", "sum", "avg", "max", "pct", "latest", "bin", "ispresent"),
}
"""Commands and functions of Logs Insights that the page uses."""
_LAMBDAS_OWN = {
    "@timestamp",
    "type",
    "record.metrics.billedDurationMs",
    "record.metrics.memorySizeMB",
    "record.metrics.maxMemoryUsedMB",
}
"""https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report"""


def section(heading: str) -> str:
    """The page's text below a heading."""
    return _PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """What the tables' rows begin with."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row.split("|")[1] for row in rows]


def named(text: str) -> set[str]:
    """The names in code in the first column of the tables."""
    return {name for cell in first_cells(text) for name in _NAMES_IN_CELL.findall(cell)}


def fields_of(query: str) -> set[str]:
    """The fields that a query reads."""
    bare = re.sub(r'"[^"]*"', "", query)
    aliases = set(re.findall(r"\bas (\w+)", bare))
    words = set(re.findall(r"@?[A-Za-z_][\w.]*", re.sub(r"\b\d+\w*", "", bare)))
    return words - aliases - _INSIGHTS


@pytest.fixture(scope="module")
def lines(processes: None, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a function writes for requests of all kinds."""
    directory = tmp_path_factory.mktemp("operations")
    store = f"sqlite:{directory / 'store.sqlite3'}"
    upstreams = {"theirs": {"upstream": "http://127.0.0.1:1/v1", "mode": "direct"}}
    environ = {
        "PILOTLIGHT_STORE": store,
        "PILOTLIGHT_ACCOUNTS": "true",
        "PILOTLIGHT_MODELS": json.dumps(upstreams),
    }
    with closing(open_accounts(store)) as accounts:
        project = accounts.projects.create(Actor(), "shop")
        owner = accounts.service_accounts.create(Actor(), project.id, "web")
        _, key = accounts.keys.issue(Actor(), "web", owner)
        _, damaged_key = accounts.keys.issue(Actor(), "damaged", owner)
    _damage(directory / "accounts.sqlite3", damaged_key)
    with RuntimeApi().serving() as api:
        function = Function(directory / "inference.log", INFERENCE, environ, api=api)
        bodies: list[dict[str, Any]] = [
            {"messages": CAPITAL, "store": True},
            {"messages": CAPITAL, "model": "theirs"},
            {"messages": []},
        ]
        for body in bodies:
            function.request(http_api_event("POST", "/v1/chat/completions", body, key=key))
        function.request(http_api_event("GET", "/v1/models", key=damaged_key))
        function.stop()
    written = [json.loads(line) for line in function.log_text().splitlines()]
    return [*written, _failure()]


def _damage(database: Path, key: str) -> None:
    """Let nobody find out whose ``key`` is."""
    place = hash_place(hash_of(key.encode()))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE records SET value = '{' WHERE partition = ?", place[:1])


def _failure() -> dict[str, Any]:
    """An error's line."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        patch.setattr(logging.root, "handlers", [])
        patch.setattr(logging.root, "level", logging.root.level)
        json_logs.configure("error", "inference")
        try:
            raise OSError("disk full")
        except OSError:
            logging.getLogger("pilotlight").exception("failed")
        logging.captureWarnings(False)
    line: dict[str, Any] = json.loads(output.getvalue())
    return line


@pytest.fixture(scope="module")
def log_fields(lines: list[dict[str, Any]]) -> set[str]:
    return {name for line in lines if "_aws" not in line for name in line}


@pytest.fixture(scope="module")
def metric_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if "_aws" in line]


def test_queries_read_fields_that_are_written(log_fields: set[str]) -> None:
    queries = _QUERY.findall(section("Queries"))

    assert len(queries) >= 8
    for query in queries:
        unknown = fields_of(query) - log_fields - _LAMBDAS_OWN
        assert not unknown, (unknown, query)


def test_the_tables_of_fields_are_complete(log_fields: set[str]) -> None:
    assert named(section("Logs")) == log_fields


def test_the_table_of_metrics_is_complete(metric_lines: list[dict[str, Any]]) -> None:
    emitted = {
        (metric["Name"], metric["Unit"])
        for line in metric_lines
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    }

    rows = re.findall(r"^\| `(\w+)` \| ([\w/]+) \|", section("Metrics"), re.MULTILINE)

    assert set(rows) == emitted


def test_what_else_is_in_a_metrics_line_is_named(metric_lines: list[dict[str, Any]]) -> None:
    names = {name for line in metric_lines for name in line} - {"_aws"}
    metrics = {name for name in names if name[0].isupper()}

    for name in names - metrics:
        assert f"`{name}`" in section("Metrics"), name


def test_the_table_of_a_generations_attributes_is_complete() -> None:
    source = (_ROOT / "shared" / "runtime" / "gen_ai.py").read_text(encoding="utf-8")
    table = section("Tracing").partition("| `gen_ai.` |")[2].partition("\n\n")[0]

    told = {name for cell in first_cells(table) for name in re.findall(r"`([a-z_.]+)`", cell)}

    assert told == set(re.findall(r'"gen_ai\.([a-z_.]+)"', source))


@pytest.mark.slow
def test_every_alarm_of_the_template_is_explained() -> None:
    assert named(section("Alarms")) == set(of_type(read(), "AWS::CloudWatch::Alarm"))


def test_parameters_that_are_named_are_the_templates() -> None:
    template = (_ROOT / "template.yaml").read_text(encoding="utf-8")
    parameters = template.partition("\nParameters:\n")[2].partition("\nResources:\n")[0]
    names = set(re.findall(r"^  (\w+):$", parameters, re.MULTILINE))
    used = set(re.findall(r"--parameter-overrides (\w+)=", _PAGE))
    used |= {"AlarmEmail", "AlarmTopicArn", "LogRetentionDays", "LogLevel", "Tracing", "SnapStart"}
    used |= {"ContextSize", "InferenceMemory", "DeadlineMargin", "ModelAliases", "ApiKeyHashes"}
    used |= {"InferenceConcurrency", "InferenceTimeout", "ApiConcurrency"}

    assert used <= names
    assert all(f"`{name}" in _PAGE or f" {name}=" in _PAGE for name in used)


@pytest.fixture
def aws(stand_ins: None) -> Iterator[Aws]:
    with moto_server() as url:
        yield Aws.fresh(url)


def test_lost_entries_are_copied_back(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    restored = Aws(aws.url, f"{aws.table}-restored", aws.bucket)
    lost, kept = sample(1, tenant="t"), sample(2, tenant="t")
    with closing(aws.store()) as store, closing(restored.store()) as copies:
        store.initialize()
        copies.initialize()
        copies.put(lost)
        copies.put(kept)
        store.put(kept)
        [code] = re.findall(
            r"^```python\n(.*?)^```$", section("Restoring stored completions"), re.M | re.S
        )

        exec(code.replace('"TABLE', f'"{aws.table}'), {})

        assert store.get("t", "chat", lost.id) == lost
    assert len(aws.check("t").completions) == 2
