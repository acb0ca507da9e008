"""The dashboard shows metrics that there are, and every alarm."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.infra.template import ROOT, of_type, read, text

TEMPLATE = read()
(DASHBOARD,) = of_type(TEMPLATE, "AWS::CloudWatch::Dashboard").values()
BODY = text(DASHBOARD["DashboardBody"])
ALARMS = of_type(TEMPLATE, "AWS::CloudWatch::Alarm")
NAMESPACE = "${AWS::StackName}"


def widgets(kind: str) -> list[Any]:
    return [each["properties"] for each in json.loads(BODY)["widgets"] if each["type"] == kind]


def written_metrics() -> set[str]:
    """The names of what functions write."""
    source = (ROOT / "functions" / "aws_lambda" / "emf.py").read_text(encoding="utf-8")
    return set(re.findall(r'add_metric\(\s*"(\w+)"', source))


def services() -> set[str]:
    return {
        variables["POWERTOOLS_SERVICE_NAME"]
        for variables in all_variables()
        if "POWERTOOLS_SERVICE_NAME" in variables
    }


def all_variables() -> list[dict[str, Any]]:
    """The environment of each function."""
    functions = of_type(TEMPLATE, "AWS::Serverless::Function").values()
    return [each["Environment"]["Variables"] for each in functions]


def test_all_metrics_of_ours_are_shown_and_none_that_are_not_written() -> None:
    metrics = [metric for each in widgets("metric") for metric in each["metrics"]]
    ours = [metric for metric in metrics if metric[0] == NAMESPACE]
    assert {metric[1] for metric in ours} == written_metrics()
    assert {metric[2] for metric in ours} == {"service"}
    assert {metric[3] for metric in ours} == services()


def test_stacks_count_for_themselves() -> None:
    """With one namespace for all, one stack's alarm would go off for another one's errors."""
    stack = {"Ref": "AWS::StackName"}
    for variables in all_variables():
        assert variables.get("POWERTOOLS_METRICS_NAMESPACE") in (stack, None)
    namespaces = [alarm["Namespace"] for alarm in ALARMS.values() if "Namespace" in alarm]
    assert [each for each in namespaces if not str(each).startswith("AWS/")] == [
        {"Fn::If": ["HasGate", "AWS/ApiGateway", stack]}
    ]


def test_the_dashboard_costs_nothing() -> None:
    """Up to 50 metrics are free: https://aws.amazon.com/cloudwatch/pricing/."""
    assert sum(len(each["metrics"]) for each in widgets("metric")) <= 50


def test_variables_name_what_the_template_has() -> None:
    names = {name.partition(".")[0] for name in re.findall(r"\$\{([\w.:]+)\}", BODY)}
    assert names <= {*TEMPLATE["Resources"], "AWS::Region", "AWS::StackName"}


def test_all_alarms_are_shown() -> None:
    (shown,) = widgets("alarm")
    assert shown["alarms"] == [f"${{{name}.Arn}}" for name in ALARMS]


def test_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for each in json.loads(BODY)["widgets"]:
        columns = range(each["x"], each["x"] + each["width"])
        rows = range(each["y"], each["y"] + each["height"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken
        assert max(columns) < 24
        taken |= cells
