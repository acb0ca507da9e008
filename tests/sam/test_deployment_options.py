"""Canary deployments, provisioned concurrency and rules, after AWS's two transforms."""

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
import json, sys
from types import SimpleNamespace

from cfnlint.decode import decode
from samcli.lib.cfn_language_extensions.api import process_template
from samcli.lib.cfn_language_extensions.models import PseudoParameterValues
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


def translated(values):
    template = json.loads(json.dumps(decode("template.yaml")[0]))
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    values = {**{k: str(v.get("Default", "")) for k, v in template["Parameters"].items()}, **values}
    pseudo = PseudoParameterValues(region="us-east-1", account_id="123456789012")
    template = process_template(template, parameter_values=values, pseudo_parameters=pseudo)
    session = SimpleNamespace(region_name="us-east-1")
    return Translator({}, Parser(), boto_session=session).translate(template, {**values, "AWS::Region": "us-east-1"})


print(json.dumps([translated(values) for values in json.load(sys.stdin)]))
"""


def translated(*values: dict[str, str]) -> list[dict[str, Any]]:
    """The template as CloudFormation gets it, for each of ``values`` of parameters."""
    done = subprocess.run(
        [Path(os.environ["SAM"]).with_name("python"), "-c", SCRIPT],
        input=json.dumps([{"ApiKeyHashes": "0" * 64, **each} for each in values]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_rules_are_kept() -> None:
    (template,) = translated({})
    assert set(template["Rules"]) == set(read()["Rules"])


def test_a_canary_moves_the_alias_and_alarms_bring_it_back() -> None:
    off, on = translated({}, {"Canary": "Linear10PercentEvery2Minutes"})
    alias = "InferenceFunctionAliaslive"
    assert not of_type(off, "AWS::CodeDeploy::DeploymentGroup")
    assert "UpdatePolicy" not in off["Resources"][alias]
    (group,) = of_type(on, "AWS::CodeDeploy::DeploymentGroup").values()
    name = group["DeploymentConfigName"]["Fn::Sub"]
    assert (
        name == "CodeDeployDefault.Lambda${ConfigName}"
        or "Linear10PercentEvery2Minutes" in json.dumps(group)
    )
    alarms = [each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]]
    assert alarms == ["InferenceErrorAlarm", "InferenceThrottleAlarm", "ServerErrorAlarm"]
    assert "CodeDeployLambdaAliasUpdate" in on["Resources"][alias]["UpdatePolicy"]


def test_provisioned_concurrency_is_the_aliases() -> None:
    off, on = translated({}, {"ProvisionedConcurrency": "2"})
    alias = "InferenceFunctionAliaslive"
    provisioned = {"ProvisionedConcurrentExecutions": "2"}
    assert provisioned in json_parts(on["Resources"][alias])
    assert provisioned not in json_parts(off["Resources"][alias])


def json_parts(value: Any) -> list[Any]:
    """``value`` and all that is in it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(part for item in inside for part in json_parts(item))]
