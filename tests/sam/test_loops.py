"""Loops of the template, as SAM CLI expands them: the resources that other tests know."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.template import of_type, read
from tests.infra.test_endpoints import http_routes

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


def test_the_duration_alarm_goes_off_near_the_timeout(resources: dict[str, Any]) -> None:
    expression = resources["InferenceDurationAlarm"]["Properties"]["Metrics"][0]["Expression"]
    assert expression == "duration - 1000 * (300 - 2 / 2)"


def test_routes_of_the_http_api_are_what_the_loops_say(resources: dict[str, Any]) -> None:
    routes = of_type({"Resources": resources}, "AWS::ApiGatewayV2::Route")
    assert {each["RouteKey"] for each in routes.values()} == set(http_routes())
