"""Loops of the template, as SAM CLI expands them: the resources that other tests know."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.template import of_type, read

pytestmark = pytest.mark.usefixtures("processes")

SCRIPT = """
import json

from cfnlint.decode import decode
from samcli.lib.cfn_language_extensions.api import process_template
from samcli.lib.cfn_language_extensions.models import PseudoParameterValues


template = json.loads(json.dumps(decode("template.yaml")[0]))
values = {name: str(each.get("Default", "")) for name, each in template["Parameters"].items()}
pseudo = PseudoParameterValues(region="us-east-1", account_id="123456789012")
done = process_template(template, parameter_values=values, pseudo_parameters=pseudo)
print(json.dumps(done["Resources"]))
"""


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    """The template's resources with the parameters' defaults."""
    done = subprocess.run(
        [Path(os.environ["SAM"]).with_name("python"), "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_resources_have_the_names_that_other_tests_read(resources: dict[str, Any]) -> None:
    assert set(resources) == set(read()["Resources"])


def test_alarms_are_each_functions_own(resources: dict[str, Any]) -> None:
    alarms = of_type({"Resources": resources}, "AWS::CloudWatch::Alarm")
    ours = of_type(read(), "AWS::CloudWatch::Alarm")
    for name in ("AlarmDescription", "Dimensions", "MetricName", "EvaluationPeriods"):
        assert {k: v.get(name) for k, v in alarms.items()} == {
            k: v.get(name) for k, v in ours.items()
        }


def test_duration_alarms_go_off_near_the_timeout(resources: dict[str, Any]) -> None:
    expressions = {
        name: resources[name]["Properties"]["Metrics"][0]["Expression"]
        for name in ("InferenceDurationAlarm", "StreamingDurationAlarm")
    }
    assert expressions == {
        "InferenceDurationAlarm": "duration - 1000 * (29 - 2 / 2)",
        "StreamingDurationAlarm": "duration - 1000 * (300 - 2 / 2)",
    }
