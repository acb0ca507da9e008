"""What functions may do: what the store needs (infra/iam), reading the model, and no more."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from shared.accounts import dynamodb_records
from shared.models.files import split_names
from tests.infra.template import NAMES, ROOT, of_type, read, resolve


def policies(role: dict[str, Any]) -> list[dict[str, Any]]:
    """A role's own policies, whatever conditions they have."""
    return [each["Fn::If"][1] if "Fn::If" in each else each for each in role["Policies"]]


TEMPLATE = read()
ROLES = of_type(TEMPLATE, "AWS::IAM::Role")
POLICIES = {
    name: policy["PolicyDocument"]
    for name, policy in of_type(TEMPLATE, "AWS::IAM::ManagedPolicy").items()
} | {
    f"{role}:{policy['PolicyName']}": policy["PolicyDocument"]
    for role, properties in ROLES.items()
    for policy in policies(properties)
}
NO_RESOURCES = {
    *("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
}
INTERFACES = {
    *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface"),
    *("ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"),
}
"""What Lambda does in a role's name, for interfaces that are not there yet."""
"""Actions that IAM knows no resources for."""


def statements(name: str) -> list[dict[str, Any]]:
    """A policy's statements, whatever conditions they have."""
    found = [
        each["Fn::If"][1] if "Fn::If" in each else each for each in POLICIES[name]["Statement"]
    ]
    return [{**each, "Action": as_list(each["Action"])} for each in found]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def model_resources(key: str) -> list[str]:
    """What of the model's bucket may be read when ``key`` is configured."""
    (files,) = (each for each in statements("ModelPolicy") if each["Sid"] == "Files")
    resources: list[str] = resolve(
        files["Resource"], {**NAMES, "ModelBucket": "models", "ModelKey": key}
    )
    return resources


def may_read(configured: str, key: str) -> bool:
    arn = f"arn:aws:s3:::models/{key}"
    return any(fnmatchcase(arn, pattern) for pattern in model_resources(configured))


def test_the_store_may_do_what_infra_iam_says() -> None:
    expected = json.loads((ROOT / "infra" / "iam" / "completions-store.json").read_text())
    assert resolve(POLICIES["StorePolicy"], NAMES) == expected


@pytest.mark.parametrize("name", POLICIES)
def test_actions_and_resources_are_exact(name: str) -> None:
    for statement in statements(name):
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action]
        if "*" in as_list(statement["Resource"]):
            assert set(statement["Action"]) <= NO_RESOURCES | INTERFACES


@pytest.mark.parametrize("role", ROLES)
def test_roles_have_nothing_else(role: str) -> None:
    """No policy of AWS's own: those name all resources."""
    properties = ROLES[role]
    attached = {
        each["Fn::If"][1]["Ref"] if "Fn::If" in each else each["Ref"]
        for each in properties["ManagedPolicyArns"]
    }
    store = {"StorePolicy"} if role != "AuthorizerRole" else set()
    deletion = {"PrefixDeletionPolicy"} if role == "ApiRole" else set()
    model = (
        {"ModelPolicy", "PrefixPolicy", "AlertPolicy", "UpstreamKeyPolicy", "BedrockPolicy"}
        if role == "InferenceRole"
        else set()
    )
    assert attached == {"TracingPolicy", "KmsKeyPolicy", "VpcPolicy"} | store | deletion | model
    own = [policy["PolicyName"] for policy in policies(properties)]
    assert own == (["log", "keys"] if role == "AuthorizerRole" else ["log"])


def test_the_authorizer_may_read_keys_and_no_completions() -> None:
    """Partitions of accounts begin alike, those of completions otherwise."""
    (statement,) = statements("AuthorizerRole:keys")
    assert statement["Action"] == ["dynamodb:BatchGetItem", "dynamodb:GetItem"]
    assert statement["Resource"] == {"Fn::GetAtt": ["Table", "Arn"]}
    (pattern,) = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert pattern.removesuffix("*") == dynamodb_records._PREFIX
    assert ROLES["AuthorizerRole"]["Policies"][1]["Fn::If"][0] == "HasAccounts"


def test_keys_of_upstreams_are_those_that_are_named() -> None:
    (statement,) = statements("UpstreamKeyPolicy")
    assert statement["Action"] == ["secretsmanager:GetSecretValue", "ssm:GetParameter"]
    arns = "arn:aws:ssm:us-east-1:1:parameter/keys/a,arn:aws:secretsmanager:us-east-1:1:secret:b-1"
    named = resolve(statement["Resource"], {**NAMES, "UpstreamKeyArns": arns})
    assert named == arns.split(",")
    (pattern,) = (TEMPLATE["Parameters"]["UpstreamKeyArns"]["AllowedPattern"],)
    assert re.fullmatch(pattern, arns)
    for other in ("*", "arn:aws:ssm:us-east-1:1:parameter/*", "arn:aws:s3:::bucket", f"{arns},"):
        assert not re.fullmatch(pattern, other)


def test_models_of_bedrock_are_those_that_are_named() -> None:
    (statement,) = statements("BedrockPolicy")
    arns = (
        "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.amazon.nova-pro-v1:0,"
        "arn:aws:bedrock:*::foundation-model/amazon.nova-pro-v1:0"
    )
    named = resolve(statement["Resource"], {**NAMES, "BedrockModelArns": arns})
    assert named == arns.split(",")
    pattern = TEMPLATE["Parameters"]["BedrockModelArns"]["AllowedPattern"]
    assert re.fullmatch(pattern, arns)
    for other in ("*", "arn:aws:bedrock:*::foundation-model/*", "arn:aws:s3:::bucket", f"{arns},"):
        assert not re.fullmatch(pattern, other)


def test_prefixes_are_read_and_written_and_nothing_else_of_the_bucket() -> None:
    (statement,) = statements("PrefixPolicy")
    assert statement["Action"] == ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/prefixes/*"}


def test_who_archives_projects_may_delete_their_prefixes_and_read_none() -> None:
    (statement,) = statements("PrefixDeletionPolicy")
    assert statement["Action"] == ["s3:DeleteObject"]
    assert statement["Resource"] == {"Fn::Sub": "${Bucket.Arn}/prefixes/*"}


def test_alerts_go_to_the_topic_alone() -> None:
    (statement,) = statements("AlertPolicy")
    assert statement["Action"] == ["sns:Publish"]
    assert statement["Resource"] == {"Ref": "AlertTopicArn"}


def test_every_function_has_a_role_of_its_own() -> None:
    functions = of_type(TEMPLATE, "AWS::Serverless::Function")
    used = [function["Role"]["Fn::GetAtt"][0] for function in functions.values()]
    assert sorted(used) == sorted(ROLES)


def test_only_the_model_may_be_read() -> None:
    assert may_read("some/model.gguf", "some/model.gguf")
    assert not may_read("some/model.gguf", "some/other.gguf")
    assert not may_read("some/model.gguf", "some/model.gguf.old")


def test_the_warm_prefix_may_be_read_and_nothing_beside_it() -> None:
    (statement,) = (each for each in statements("ModelPolicy") if each["Sid"] == "WarmPrefix")
    names = {**NAMES, "ModelBucket": "models", "WarmPrefixKey": "prompts/system.txt"}
    assert statement["Action"] == ["s3:GetObject"]
    assert resolve(statement["Resource"], names) == "arn:aws:s3:::models/prompts/system.txt"
    variables = of_type(TEMPLATE, "AWS::Serverless::Function")["InferenceFunction"]["Environment"]
    warm = variables["Variables"]["PILOTLIGHT_WARM_PREFIX"]["Fn::If"]
    assert warm[0] == "HasWarmPrefix"
    assert resolve(warm[1], names) == "s3://models/prompts/system.txt"


def test_the_draft_model_may_be_read_and_nothing_beside_it() -> None:
    (statement,) = (each for each in statements("ModelPolicy") if each["Sid"] == "DraftModel")
    names = {**NAMES, "ModelBucket": "models", "DraftModelKey": "small/draft.gguf"}
    assert statement["Action"] == ["s3:GetObject"]
    assert resolve(statement["Resource"], names) == "arn:aws:s3:::models/small/draft.gguf"
    variables = of_type(TEMPLATE, "AWS::Serverless::Function")["InferenceFunction"]["Environment"]
    draft = variables["Variables"]["PILOTLIGHT_MODEL_DRAFT"]["Fn::If"]
    assert (draft[0], draft[2]) == ("HasDraftModel", {"Ref": "AWS::NoValue"})
    assert resolve(draft[1], names) == "s3://models/small/draft.gguf"


@pytest.mark.parametrize(
    ("key", "accepted"),
    [
        ("", True),
        ("small/draft-q8_0.gguf", True),
        ("draft-00001-of-00002.gguf", False),
        ("draft", False),
        ("*.gguf", False),
        ("a,b.gguf", False),
    ],
)
def test_a_draft_model_is_one_object(key: str, accepted: bool) -> None:
    pattern = TEMPLATE["Parameters"]["DraftModelKey"]["AllowedPattern"]
    assert (re.fullmatch(pattern, key) is not None) == accepted


def test_all_files_of_a_split_model_may_be_read() -> None:
    first = "some/model-00001-of-00003.gguf"
    for name in split_names("model-00001-of-00003.gguf"):
        assert may_read(first, f"some/{name}")
    assert not may_read(first, "some/model.gguf")
