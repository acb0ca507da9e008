"""Rules: contradictions, and regions where something is missing, are refused before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.rules import refusals
from tests.infra.template import read

TEMPLATE = read()
RULES: dict[str, Any] = TEMPLATE["Rules"]
DEFAULTS = {
    name: str(parameter.get("Default", "")) for name, parameter in TEMPLATE["Parameters"].items()
}
DOMAIN = {"DomainName": "api.example.com", "CertificateArn": "arn:certificate"}
VPC = {"SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}
OTHERS = {"Models": "{}"}
MODEL = {"ModelBucket": "models", "ModelKey": "model.gguf"}


def refused(region: str = "us-east-1", **values: str) -> list[str]:
    """What CloudFormation says of ``values``, with the defaults of all others."""
    assert values.keys() <= DEFAULTS.keys()
    return refusals(RULES, {**DEFAULTS, **values, "AWS::Region": region})


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-east-2", "ap-southeast-6"])
def test_defaults_pass(region: str) -> None:
    assert refused(region) == []


@pytest.mark.parametrize(
    "values",
    [
        MODEL,
        {**MODEL, "ModelKmsKeyArn": "arn:key"},
        {**MODEL, "DraftModelKey": "draft.gguf"},
        {**MODEL, "SpecType": "none"},
        {"SpecType": "ngram-simple"},
        {**MODEL, **OTHERS},
        {"ModelKey": "none", **OTHERS},
        {"SnapStart": "on"},
        {"ProvisionedConcurrency": "2", "InferenceConcurrency": "4"},
        {"KeepWarmMinutes": "5", "SnapStart": "on"},
        {"Canary": "Canary10Percent5Minutes", "SnapStart": "on"},
        {**DOMAIN, "Endpoint": "http-api", "HostedZoneId": "Z1"},
        VPC,
        {"Endpoint": "function-url", "UrlAuthType": "AWS_IAM"},
        {"Endpoint": "function-url", "CorsOrigins": "*"},
        {"AlarmEmail": "a@example.com", "MonthlyBudget": "20", "BudgetEmail": "b@example.com"},
        {"WebhookUrl": "https://example.com", "WebhookSecret": "whsec_0"},
        {"KmsKeyArn": "arn:key", "AccessLog": "on"},
    ],
)
def test_what_belongs_together_passes(values: dict[str, str]) -> None:
    assert refused(**values) == []


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"ModelBucket": "models"}, "ModelKey"),
        ({"ModelKey": "model.gguf"}, "ModelBucket"),
        ({"ModelKmsKeyArn": "arn:key"}, "ModelBucket"),
        ({"WarmPrefixKey": "system.txt"}, "ModelBucket"),
        ({"DraftModelKey": "draft.gguf"}, "ModelBucket"),
        ({**MODEL, "DraftModelKey": "draft.gguf", "SpecType": "none"}, "SpecType"),
        ({"ModelKey": "none"}, "Models"),
        ({"ModelKey": "none", "ModelBucket": "models", **OTHERS}, "ModelBucket"),
        ({"SnapStart": "on", "ProvisionedConcurrency": "1"}, "ProvisionedConcurrency"),
        ({"KeepWarmMinutes": "5", "ProvisionedConcurrency": "1"}, "KeepWarmMinutes"),
        ({"ProvisionedConcurrency": "1", "InferenceConcurrency": "0"}, "InferenceConcurrency"),
        ({"DomainName": "api.example.com"}, "CertificateArn"),
        ({"CertificateArn": "arn:certificate"}, "DomainName"),
        ({"HostedZoneId": "Z1"}, "DomainName"),
        ({**DOMAIN, "Endpoint": "function-url"}, "Endpoint"),
        ({"SubnetIds": "subnet-1"}, "SecurityGroupIds"),
        ({"SecurityGroupIds": "sg-1"}, "SubnetIds"),
        ({"UrlAuthType": "AWS_IAM"}, "UrlAuthType"),
        (
            {"Endpoint": "function-url", "UrlAuthType": "AWS_IAM", "CorsOrigins": "*"},
            "CorsOrigins",
        ),
        ({"Endpoint": "function-url", "AccessLog": "on"}, "AccessLog"),
        ({"AlarmEmail": "a@example.com", "AlarmTopicArn": "arn:topic"}, "AlarmTopicArn"),
        ({"MonthlyBudget": "20"}, "BudgetEmail"),
        ({"BudgetEmail": "a@example.com"}, "MonthlyBudget"),
        ({"WebhookUrl": "https://example.com"}, "WebhookSecret"),
    ],
)
def test_contradictions_are_refused(values: dict[str, str], names: str) -> None:
    (description,) = refused(**values)
    assert names in description


@pytest.mark.parametrize("region", ["ap-east-2", "ap-southeast-6"])
def test_regions_without_snapstart(region: str) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html: all commercial ones but these."""
    (description,) = refused(region, SnapStart="on")
    assert "SnapStart to off" in description


@pytest.mark.parametrize(
    "region", ["me-south-1", "us-gov-west-1", "us-gov-east-1", "cn-north-1", "cn-northwest-1"]
)
def test_regions_without_the_layer(region: str) -> None:
    for endpoint in ("rest-api", "function-url"):
        (description,) = refused(region, Endpoint=endpoint)
        assert "AdapterLayerArn" in description
    assert refused(region, Endpoint="http-api") == []
    assert refused(region, AdapterLayerArn="arn:layer") == []


def test_every_assertion_can_fail() -> None:
    """So the cases above have them all."""
    descriptions = [each["AssertDescription"] for r in RULES.values() for each in r["Assertions"]]
    assert len(set(descriptions)) == len(descriptions)
    cases = [
        mark.args[1]
        for test in (test_contradictions_are_refused,)
        for mark in test.pytestmark  # type: ignore[attr-defined]
    ]
    seen = {description for case in cases[0] for description in refused(**case[0])}
    seen |= {*refused("ap-east-2", SnapStart="on"), *refused("me-south-1")}
    assert seen == set(descriptions)


def test_every_canary_is_in_the_mapping() -> None:
    allowed = TEMPLATE["Parameters"]["Canary"]["AllowedValues"]
    enabled = {name: each["Enabled"] for name, each in TEMPLATE["Mappings"]["Canaries"].items()}
    assert enabled == {name: "false" if name == "off" else "true" for name in allowed}
