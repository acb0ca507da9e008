"""docs/hosting.md: its commands run as they are printed, and its invoice is prices times usage."""

from __future__ import annotations

import csv
import json
import shlex
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.conftest import StartServer
from tests.page_reader import Reader
from tests.pages import Example, examples
from tests.server import ServerProcess

_ROOT = Path(__file__).parents[2]
_SERVE = "pilotlight serve"


def _serve(example: Example, start: StartServer, reader: Reader, store: Path) -> ServerProcess:
    """The page's server, on a free port."""
    program, command, *arguments = shlex.split(example.code)
    assert f"{program} {command}" == _SERVE
    environ = {"PILOTLIGHT_DATA_DIR": str(store), "PYTHONPATH": str(_ROOT)}
    return start(*arguments, environ=environ, directory=reader.directory)


def test_the_page_leads_to_an_exact_invoice(
    start_server: StartServer, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(tmp_path, tmp_path / "accounts", programs)
    monkeypatch.chdir(reader.directory)
    steps = [example for section in examples("hosting.md").values() for example in section]
    url, printed = "", []
    server = None

    for example in steps:
        if example.code.startswith(_SERVE):
            server = _serve(example, start_server, reader, tmp_path / "accounts")
            url = server.url
            continue
        printed.append(reader.run(example.language, example.at(url) if url else example.code))
        text = printed[-1]
        assert example.printed(text), f"{example.code}\nprints\n{text}\nnot\n{example.output}"

    assert server is not None
    first = next(json.loads(text) for text in printed if text.startswith('{"id":"chatcmpl-'))
    costs = [first["usage"]["cost"], reader.names["answer"].usage.cost]
    with (reader.directory / "invoice.csv").open(newline="", encoding="utf-8") as file:
        invoice = {row["line_item"]: row for row in csv.DictReader(file)}
    total = sum(Decimal(row["dollars"]) for row in invoice.values())
    assert total == sum(Decimal(str(cost)) for cost in costs) > 0
    _check_against_usage(server.openai(admin_api_key=reader.variable("ADMIN_KEY")), invoice)


def _check_against_usage(admin: OpenAI, invoice: dict[str, dict[str, str]]) -> None:
    """The invoice's lines against the prices and what OpenAI's client says was used."""
    organization = admin.admin.organization
    (shop,) = (project for project in organization.projects.list() if project.name == "shop")
    page = organization.usage.completions(
        start_time=shop.created_at - 86400, project_ids=[shop.id], bucket_width="1d"
    )
    used: list[Any] = [result for bucket in page.data for result in bucket.results]
    cached = sum(result.input_cached_tokens or 0 for result in used)
    tokens = {
        "input_tokens": ("prompt", sum(result.input_tokens for result in used) - cached),
        "cached_input_tokens": ("cached", cached),
        "output_tokens": ("completion", sum(result.output_tokens for result in used)),
    }
    prices = tomllib.loads(Path("pilotlight.toml").read_text(encoding="utf-8"), parse_float=Decimal)
    for item, (price, n_tokens) in tokens.items():
        row = invoice.pop(f"small, {item}")
        assert int(row["tokens"]) == n_tokens
        assert Decimal(row["dollars"]) == n_tokens * prices["prices"]["small"][price] / 10**6
    assert not invoice
