"""The template deployed with each of its endpoints, used, updated and deleted; in this order.

Each test leaves a stack that accepts ``stack.key`` and serves the built-in model.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError
from openai import APIStatusError, AuthenticationError, OpenAI, PermissionDeniedError

from tests.deploy.stack import Stack
from tests.deploy.workarounds import WORKAROUNDS
from tests.sam.cli import ROOT
from tests.server import CAPITAL, wait_until

pytestmark = pytest.mark.timeout(3600)
"""The first test waits for ``sam build``, which compiles llama.cpp if nobody has before."""

default_endpoint = pytest.mark.parametrize("stack", ["rest-api"], indirect=True)
SMOKE = ROOT / "infra" / "lambda" / "smoke.py"
MODEL = "pilotlight-builtin"
ANSWER = "The capital of France is Paris."
REFUSED = (AuthenticationError, PermissionDeniedError)
"""The HTTP API answers with 403, all others with 401."""


def ask(client: OpenAI, **options: Any) -> Any:
    """A chat completion about the capital of France."""
    messages: Any = CAPITAL
    return client.chat.completions.create(model=MODEL, messages=messages, **options)


def assert_accepts(stack: Stack, key: str, refused: str) -> None:
    """One key and not the other; by the function with the model, and by the one without."""
    client = stack.openai(key)
    assert ask(client).choices[0].message.content == ANSWER
    assert [each.id for each in client.models.list()] == [MODEL]
    client = stack.openai(refused)
    with pytest.raises(REFUSED):
        ask(client)
    with pytest.raises(REFUSED):
        client.models.list()


def live_version(stack: Stack) -> dict[str, Any]:
    """The configuration of the version that requests go to, once it is initialized or not."""
    client = stack.emulator.aws("lambda")
    (arn,) = stack.resources("AWS::Lambda::Alias").values()

    def configuration() -> dict[str, Any]:
        found: dict[str, Any] = client.get_function_configuration(FunctionName=arn)
        return found

    wait_until(lambda: configuration()["State"] != "Pending", "initialized")
    return configuration()


def test_a_chat_is_answered(stack: Stack) -> None:
    assert stack.status() == "CREATE_COMPLETE"
    assert ask(stack.openai()).choices[0].message.content == ANSWER


def test_a_streamed_chat_is_answered(stack: Stack) -> None:
    if stack.name == "http-api":
        pytest.skip("answers come whole")
    chunks = ask(stack.openai(), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER


def test_stored_completions_are_read_listed_and_deleted(stack: Stack) -> None:
    """Behind a gate another function does that than the one that has stored them."""
    client = stack.openai()
    stored = ask(client, store=True, metadata={"test": "deploy"})
    assert client.chat.completions.retrieve(stored.id).choices[0].message.content == ANSWER
    (message,) = client.chat.completions.messages.list(stored.id)
    assert message.content == CAPITAL[0]["content"]
    listed = client.chat.completions.list(metadata={"test": "deploy"})
    assert [each.id for each in listed] == [stored.id]
    client.chat.completions.delete(stored.id)
    assert not list(client.chat.completions.list())


def test_a_wrong_key_is_refused(stack: Stack) -> None:
    assert_accepts(stack, stack.key, refused="wrong-key")


def test_a_wrong_key_does_not_start_the_function_with_the_model(stack: Stack) -> None:
    if stack.name == "function-url":
        pytest.skip("has no gate")
    before = stack.invocations("inference")
    with pytest.raises(REFUSED):
        ask(stack.openai("another-wrong-key"))
    ask(stack.openai())
    wait_until(lambda: stack.invocations("inference") > before, "logged")
    assert stack.invocations("inference") == before + 1
    assert stack.invocations("authorizer") > 0


def test_permissions_are_enforced(stack: Stack) -> None:
    """Else this would be no test of the policies: without dynamodb:Query nothing is listed."""
    client = stack.openai()
    stored = ask(client, store=True)
    with stack.without_permission("dynamodb:Query"):
        assert client.chat.completions.retrieve(stored.id).id == stored.id
        with pytest.raises(APIStatusError) as failed:
            client.chat.completions.list()
        assert failed.value.status_code in (500, 503)
    assert [each.id for each in client.chat.completions.list()] == [stored.id]
    client.chat.completions.delete(stored.id)


@pytest.mark.parametrize("stack", ["http-api"], indirect=True)
def test_a_projects_key_is_accepted_and_billed(stack: Stack) -> None:
    """With accounts, whose keys the authorizer looks up with permissions of its own."""
    operator = stack.pilotlight("keys", "create", "--admin", "operator")
    admin = stack.openai(admin_api_key=operator).admin.organization
    project = admin.projects.create(name="shop")
    account = admin.projects.service_accounts.create(project.id, name="web site")
    assert account.api_key is not None
    customer = stack.openai(account.api_key.value)
    answer = ask(customer, store=True)
    assert answer.usage.cost == pytest.approx((17 * 2 + 11 * 10) / 1e6)
    assert [each.id for each in customer.chat.completions.list()] == [answer.id]
    assert not list(stack.openai().chat.completions.list())
    (bucket,) = admin.usage.completions(start_time=answer.created - 1, limit=1).data
    (result,) = bucket.results
    assert (result.input_tokens, result.output_tokens) == (17, 11)  # type: ignore[union-attr]


@default_endpoint
def test_parameters_that_contradict_each_other_are_refused(stack: Stack) -> None:
    before = stack.status()
    done = stack.try_deploy(ModelBucket="models")
    assert done.returncode != 0
    assert "ModelBucket needs ModelKey" in done.stdout
    assert stack.status() == before


@default_endpoint
def test_the_function_with_the_model_starts_from_a_snapshot(stack: Stack) -> None:
    """Its version was initialized, hooks included, as it was published."""
    configuration = live_version(stack)
    assert configuration["SnapStart"]["OptimizationStatus"] == "On"
    assert configuration["State"] == "Active"


def test_a_rotated_key_is_refused_and_the_new_one_accepted(stack: Stack) -> None:
    old = stack.key
    stack.deploy(key=f"second-key-of-{stack.name}")
    assert stack.status() == "UPDATE_COMPLETE"
    assert_accepts(stack, stack.key, refused=old)
    done = smoke(stack, REVOKED_API_KEYS=old)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "a revoked key is refused" in done.stdout


def smoke(stack: Stack, **environ: str) -> subprocess.CompletedProcess[str]:
    """What the smoke test says."""
    return subprocess.run(
        [sys.executable, SMOKE, stack.emulator.address(stack.url())],
        env={
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(stack.emulator.certificate),
            "OPENAI_API_KEY": stack.key,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@default_endpoint
def test_an_update_that_fails_is_rolled_back(stack: Stack) -> None:
    """A layer that is not there, and a key that must not be accepted then."""
    done = stack.try_deploy(key="third-key", AdapterLayerVersion="999")
    assert done.returncode != 0, done.stdout
    assert stack.status() == "UPDATE_ROLLBACK_COMPLETE"
    assert_accepts(stack, stack.key, refused="third-key")


@default_endpoint
def test_a_model_that_is_not_there_fails_the_version(stack: Stack) -> None:
    """On AWS that fails the update as well; the emulator's CloudFormation doesn't wait for it."""
    stack.try_deploy(ModelBucket="no-such-bucket", ModelKey="no-such-model.gguf")
    configuration = live_version(stack)
    assert configuration["State"] == "Failed"
    assert configuration["StateReason"]
    stack.deploy()
    assert_accepts(stack, stack.key, refused="third-key")


def test_what_is_stored_stays_when_the_stack_is_deleted(stack: Stack) -> None:
    stored = ask(stack.openai(), store=True)
    outputs = stack.outputs()
    stack.delete()
    with pytest.raises(ClientError, match="does not exist"):
        stack.status()
    aws = stack.emulator.aws
    assert not aws("lambda").list_functions()["Functions"]
    assert not aws("iam").list_roles()["Roles"]
    assert not aws("logs").describe_log_groups()["logGroups"]
    found = aws("dynamodb").scan(TableName=outputs["TableName"])["Items"]
    assert stored.id in json.dumps(found)
    assert aws("s3").head_bucket(Bucket=outputs["BucketName"])


def test_the_page_names_every_workaround() -> None:
    page = (ROOT / "docs" / "deploy-lambda.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \| ", page.partition("## How it is tested")[2], re.MULTILINE)
    assert named == [each.__name__ for each in WORKAROUNDS]
