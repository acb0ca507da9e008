"""`docs/costs.md` against the arithmetic, and its constants against what they count."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.costs import pricing
from benchmarks.costs.monthly_bills import break_even
from benchmarks.costs.pricing import DEFAULT, Measured
from benchmarks.costs.request_prices import attacks
from benchmarks.costs.tables import tables
from benchmarks.costs.token_prices import per_million
from tests.infra.template import of_type, read

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def test_the_pages_tables_are_those_of_the_script() -> None:
    on_page = [found.rstrip("\n") for found in _TABLE.findall(_PAGE)]

    assert on_page == list(tables().values())


def test_every_price_names_its_page() -> None:
    for name, section in pricing.PRICES.items():
        assert section["source"].startswith("https://"), name


def test_speeds_are_those_of_the_performance_page() -> None:
    performance = (_ROOT / "docs" / "performance" / "README.md").read_text(encoding="utf-8")
    throughput = performance.partition("**Throughput, tokens/s**")[2]
    row = re.search(r"^\| pilotlight \|(.*)\|$", throughput, re.MULTILINE)

    assert row is not None
    rates = [float(cell.split()[0]) for cell in row[1].split("|")]
    assert rates == list(DEFAULT.rates.values())


def test_metrics_are_counted_as_the_operations_page_lists_them() -> None:
    operations = (_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = operations.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    names.remove("AccountsFailures")  # has no value where nothing fails, and costs nothing
    with_completions = names[names.index("QueueTime") :]

    assert pricing.METRICS["inference"] == len(names)
    assert pricing.METRICS["api"] == len(names) - len(with_completions)


def test_the_page_on_deployment_tells_the_same_of_attackers() -> None:
    page = (_ROOT / "docs" / "deploy-lambda.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `rest-api`, ")]
    gate = [[cell.strip(" |") for cell in row[1:]] for row in rows]
    no_gate = re.search(r"^\| `function-url`, and .* \| (\S+) \| (\S+); .* (\S+) \|$", page, re.M)

    lines = [line.strip("| ").split(" | ")[1:] for line in attacks().splitlines()[2:]]
    ((warm, cold), (_, restored), random, again, none, public) = lines
    assert again == none
    assert gate == [random, none, public]
    assert no_gate is not None
    assert no_gate.groups() == (warm, cold, restored)


def test_alarms_are_counted_as_the_template_has_them() -> None:
    alarms = json.dumps(of_type(read(), "AWS::CloudWatch::Alarm"))

    assert alarms.count('"MetricName":') == pricing.N_ALARM_METRICS


def test_a_second_of_lambda_is_memory_times_its_price() -> None:
    assert pricing.lambda_second(1024) == pytest.approx(0.0000166667)
    assert pricing.lambda_second(10240, "arm64") == pytest.approx(0.000133334)


def test_a_faster_machine_makes_tokens_cheaper_in_proportion() -> None:
    faster = Measured({1: 2 * DEFAULT.alone, 16: 2 * DEFAULT.full})

    first = per_million(faster).splitlines()[2].split("|")[3]

    assert float(first) == pytest.approx(2.86 / 2)


def test_all_requests_are_cold_when_they_are_rare_and_none_when_they_are_many() -> None:
    assert pricing.cold_share(1) == pytest.approx(1, abs=1e-3)
    assert pricing.cold_share(1_000_000) == pytest.approx(0, abs=1e-3)


def test_at_the_break_even_both_cost_the_same() -> None:
    row = next(line for line in break_even(DEFAULT).splitlines() if "c7i.large" in line)
    _, _, month, requests, *_ = [cell.strip().replace(",", "") for cell in row.split("|")]

    there = pricing.lambda_month(DEFAULT, float(requests), snapstart=False)

    assert there == pytest.approx(float(month), rel=0.01)


def test_the_page_says_when_a_machine_is_cheaper_than_lambda() -> None:
    per_second = pricing.lambda_second(DEFAULT.memory) / DEFAULT.on_lambda
    machine = pricing.PRICES["ec2"]["hour"]["c7i.large"] / pricing.HOUR / DEFAULT.full

    share = machine / per_second

    assert "below\nabout 14 % of what it can do Lambda is cheaper" in _PAGE
    assert share == pytest.approx(0.14, abs=0.005)


def test_the_page_says_how_much_slower_the_build_for_lambda_is() -> None:
    short, long = (
        pricing.one_thread("AVX2", prompt, 64) / pricing.one_thread("AVX-512", prompt, 64)
        for prompt in (106, 1000)
    )
    assert "take 8 % longer on Lambda, those with long prompts a fifth" in _PAGE
    assert short == pytest.approx(1.08, abs=0.005)
    assert long == pytest.approx(1.2, abs=0.05)
    assert pytest.approx(DEFAULT.alone / short) == DEFAULT.on_lambda


def test_the_summary_says_what_the_endpoint_and_a_larger_model_cost() -> None:
    million = 1_000_000
    rest, url = (
        pricing.lambda_month(DEFAULT, million, snapstart=False, endpoint=endpoint)
        for endpoint in ("rest-api", "function-url")
    )
    assert "**The endpoint** is 2 % of the bill" in _PAGE
    assert (rest - url) / rest == pytest.approx(0.02, abs=0.005)
    assert "4 GB costs seven and a half times as much" in _PAGE
    assert pytest.approx(7.5, abs=0.1) == 4 / pricing.MODEL_GB
    thousand = pricing.lambda_month(DEFAULT, 1000, snapstart=False)
    assert "A thousand requests a month cost less than a dollar" in _PAGE
    assert thousand < 1


def test_a_provisioned_environment_is_paid_for_when_nobody_calls() -> None:
    idle = pricing.provisioned_month(DEFAULT, 0)
    assert "**An environment always there** costs $38 a month" in _PAGE
    assert idle == pytest.approx(38, abs=0.5)
    assert "pays for it from 1.2 million a month on" in _PAGE
    for requests, pays in ((1_000_000, False), (1_300_000, True)):
        there = pricing.provisioned_month(DEFAULT, requests)
        assert (there < pricing.lambda_month(DEFAULT, requests, snapstart=False)) == pays
