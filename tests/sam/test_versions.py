"""New settings become a new version of the function with an alias, new routes a new deployment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.infra.template import read

pytestmark = pytest.mark.usefixtures("processes")

PARAMETERS = read()["Parameters"]
WITHOUT_EFFECT = {
    "AccessLog",
    "ApiMemory",
    "ApiConcurrency",
    "Architecture",  # changes the code
    "AlarmEmail",
    "AlarmTopicArn",
    "BudgetEmail",
    "Canary",
    "CertificateArn",
    "DeletionProtection",
    "DomainName",
    "HostedZoneId",
    "KeepWarmMinutes",
    "LogRetentionDays",
    "UpstreamKeyArns",
    "BedrockModelArns",
    "ModelKmsKeyArn",
    "MonthlyBudget",
    "ThrottlingBurstLimit",
    "ThrottlingRateLimit",
    "UrlAuthType",
}
OTHER_VALUES = {
    "Endpoint": "http-api",
    "ApiKeyHashes": "1" * 64,
    "CorsOrigins": "https://app.example.com",
    "ModelBucket": "models",
    "ModelKey": "model.gguf",
    "DraftModelKey": "draft.gguf",
    "SpecType": "ngram-simple",
    "ModelAliases": "name",
    "Models": '{"big": {"upstream": "https://example.com", "mode": "direct"}}',
    "Accounts": "true",
    "PrefixCache": "true",
    "WarmPrefixKey": "system.txt",
    "Prices": '{"name": {"prompt": 1}}',
    "UsageCost": "true",
    "RateLimitsOutage": "refuse",
    "BudgetsOutage": "allow",
    "AlertTopicArn": "arn:aws:sns:us-east-1:123456789012:alerts",
    "WebhookUrl": "https://example.com/hook",
    "WebhookSecret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "LogLevel": "debug",
    "SnapStart": "on",
    "AdapterLayerArn": "arn:aws:lambda:us-east-1:123456789012:layer:adapter:1",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/0123",
    **{"SubnetIds": "subnet-0123", "SecurityGroupIds": "sg-0123"},
    "Tracing": "on",
}
TOGETHER = {"SubnetIds": "SecurityGroupIds", "SecurityGroupIds": "SubnetIds"}
"""Parameters that have an effect together only."""

SCRIPT = """
import json, sys
from types import SimpleNamespace

from cfnlint.decode import decode
from samcli.lib.cfn_language_extensions.api import process_template
from samcli.lib.cfn_language_extensions.models import PseudoParameterValues
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator


TEMPLATE = json.dumps(decode("template.yaml")[0])


def translated(values):
    template = json.loads(TEMPLATE)
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    values = {**{k: str(v.get("Default", "")) for k, v in template["Parameters"].items()}, **values}
    pseudo = PseudoParameterValues(region="us-east-1", account_id="123456789012")
    template = process_template(template, parameter_values=values, pseudo_parameters=pseudo)
    session = SimpleNamespace(region_name="us-east-1")
    done = Translator({}, Parser(), boto_session=session).translate(template, {**values, "AWS::Region": "us-east-1"})
    found = done["Resources"].items()
    kinds = ("AWS::Lambda::Version", "AWS::ApiGateway::Deployment")
    return [[name for name, each in found if each["Type"] == kind] for kind in kinds]


print(json.dumps([translated(values) for values in json.load(sys.stdin)]))
"""
"""AWS's two transforms, as SAM CLI has them, for each of the parameters' values on its input."""


Made = dict[str, tuple[list[str], list[str]]]
"""Versions of functions and deployments of APIs, by what was changed."""


@pytest.fixture(scope="module")
def made() -> Made:
    """What is made after changing a parameter; ``""``: after changing none."""
    changed: dict[str, dict[str, str]] = {"": {}} | {
        name: {name: OTHER_VALUES.get(name) or str(int(parameter["Default"]) + 1)}
        for name, parameter in PARAMETERS.items()
        if name not in WITHOUT_EFFECT
    }
    for name, other in TOGETHER.items():
        changed[name] |= {other: OTHER_VALUES[other]}
    values = [{"ApiKeyHashes": "0" * 64, **each} for each in changed.values()]
    done = subprocess.run(
        [Path(os.environ["SAM"]).with_name("python"), "-c", SCRIPT],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return dict(zip(changed, json.loads(lines[-1]), strict=True))


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - WITHOUT_EFFECT))
def test_a_parameters_value_publishes_a_version(made: Made, name: str) -> None:
    (before,), (after,) = made[""][0], made[name][0]
    assert before.partition("Version")[0] == "InferenceFunction"
    assert after != before


def test_what_changes_the_rest_api_is_deployed(made: Made) -> None:
    """A change that no deployment has is in the API, and no caller sees it."""
    (before,), (after,), (same,) = (made[name][1] for name in ("", "CorsOrigins", "ModelKey"))
    assert before == same != after
