"""AuthorizerFunction under the real runtime client: who is let in by API Gateway."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.accounts.accounts import Accounts
from shared.accounts.audit_log import Actor
from shared.accounts.dynamodb_records import DynamoDBRecords
from shared.accounts.key_format import new_key
from shared.accounts.types import ServiceAccount
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import (
    KEY,
    METHOD_ARN,
    http_authorizer_event,
    rest_authorizer_event,
)
from tests.aws_lambda.function import PYTHON, TASK_ROOT, Function, environment
from tests.storage.dynamodb.aws import PATIENT, Aws, shared_session

AUTHORIZER = "functions.aws_lambda.authorizer.handler"
ACTOR = Actor()


@pytest.fixture(scope="module")
def authorizer(start_shared: StartFunction, stored_in: dict[str, str]) -> Function:
    """The function of a deployment with accounts."""
    return start_shared(AUTHORIZER, {**stored_in, "PILOTLIGHT_ACCOUNTS": "true"})


@pytest.fixture
def accounts(aws: Aws) -> Iterator[Accounts]:
    """The deployment's accounts."""
    records = DynamoDBRecords(
        aws.table, retries=PATIENT, session=shared_session(), endpoint_url=aws.url
    )
    with closing(Accounts(records)) as accounts:
        yield accounts


@pytest.fixture
def owner(accounts: Accounts) -> ServiceAccount:
    """A service account of a new project."""
    project = accounts.projects.create(ACTOR, "project")
    return accounts.service_accounts.create(ACTOR, project.id, "service")


def ask(function: Function, event: dict[str, Any]) -> dict[str, Any]:
    """The answer to an event."""
    invocation = function.api.invoke(event)
    assert invocation.error is None, (invocation.error, function.log_text())
    answer: dict[str, Any] = invocation.response
    return answer


def lets_in(function: Function, header: str) -> bool:
    """What both kinds of API are told, which has to be the same."""
    policy = ask(function, rest_authorizer_event(header))["policyDocument"]
    (statement,) = policy["Statement"]
    is_allowed = bool(statement["Effect"] == "Allow")
    assert ask(function, http_authorizer_event(header)) == {"isAuthorized": is_allowed}
    return is_allowed


class TestConfiguredKeys:
    """Keys whose hashes are in the settings."""

    @pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER   {KEY} "])
    def test_a_key_is_let_in(self, authorizer: Function, header: str) -> None:
        assert lets_in(authorizer, header)

    @pytest.mark.parametrize(
        "header", [f"Bearer {KEY}x", "Bearer ", "Bearer", KEY, f"Basic {KEY}", "Bearer \u00e9", ""]
    )
    def test_nothing_else_is(self, authorizer: Function, header: str) -> None:
        assert not lets_in(authorizer, header)

    def test_a_policy_is_for_the_whole_stage(self, authorizer: Function) -> None:
        """API Gateway keeps it, and applies it to other methods than that which was asked for."""
        event = rest_authorizer_event(f"Bearer {KEY}", "GET", "v1/models")
        assert ask(authorizer, event)["policyDocument"] == {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": f"{METHOD_ARN}/*",
                }
            ],
        }

    def test_the_caller_is_named_by_the_keys_id(self, authorizer: Function) -> None:
        known = ask(authorizer, rest_authorizer_event(f"Bearer {KEY}"))
        unknown = ask(authorizer, rest_authorizer_event("Bearer x"))
        assert known["principalId"].startswith("key-")
        assert unknown["principalId"] == "nobody"
        assert KEY not in str(known)


class TestAccounts:
    """Keys of projects and of administrators."""

    def test_keys_are_let_in_until_they_are_revoked(
        self, authorizer: Function, accounts: Accounts, owner: ServiceAccount
    ) -> None:
        key, secret = accounts.keys.issue(ACTOR, "key", owner)
        before = lets_in(authorizer, f"Bearer {secret}")
        accounts.keys.revoke(ACTOR, owner.project_id, key.id)
        assert (before, lets_in(authorizer, f"Bearer {secret}")) == (True, False)

    def test_admin_keys_are_let_in(self, authorizer: Function, accounts: Accounts) -> None:
        _, secret = accounts.keys.issue(ACTOR, "admin", None)
        assert lets_in(authorizer, f"Bearer {secret}")

    def test_expired_keys_are_not(
        self, authorizer: Function, aws: Aws, owner: ServiceAccount
    ) -> None:
        records = DynamoDBRecords(
            aws.table, retries=PATIENT, session=shared_session(), endpoint_url=aws.url
        )
        with closing(Accounts(records, lambda: 1_700_000_000.0)) as earlier:
            _, secret = earlier.keys.issue(ACTOR, "key", owner, expires_in=60)
        assert not lets_in(authorizer, f"Bearer {secret}")

    def test_keys_of_archived_projects_are_not(
        self, authorizer: Function, accounts: Accounts, owner: ServiceAccount
    ) -> None:
        _, secret = accounts.keys.issue(ACTOR, "key", owner)
        accounts.projects.archive(ACTOR, owner.project_id)
        assert not lets_in(authorizer, f"Bearer {secret}")

    def test_nothing_is_written(
        self, authorizer: Function, accounts: Accounts, owner: ServiceAccount, aws: Aws
    ) -> None:
        """It may only read: when a key was used is for the function to note that serves it."""
        key, secret = accounts.keys.issue(ACTOR, "key", owner)
        assert lets_in(authorizer, f"Bearer {secret}")
        assert accounts.keys.get(owner.project_id, key.id).last_used_at is None

    def test_a_key_that_nobody_has_is_not(self, authorizer: Function) -> None:
        assert not lets_in(authorizer, f"Bearer {new_key()}")


def test_without_accounts_their_keys_are_not_let_in(
    start_function: StartFunction,
    stored_in: dict[str, str],
    accounts: Accounts,
    owner: ServiceAccount,
) -> None:
    _, secret = accounts.keys.issue(ACTOR, "key", owner)
    function = start_function(AUTHORIZER, {**stored_in, "PILOTLIGHT_ACCOUNTS": "false"})
    assert not lets_in(function, f"Bearer {secret}")
    assert lets_in(function, f"Bearer {KEY}")


def test_where_nobody_can_tell_it_fails(start_function: StartFunction) -> None:
    """API Gateway makes 503 of that, and keeps no answer."""
    function = start_function(
        AUTHORIZER,
        {
            "PILOTLIGHT_ACCOUNTS": "true",
            "PILOTLIGHT_STORE": "dynamodb:none,none",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        },
    )
    invocation = function.api.invoke(rest_authorizer_event(f"Bearer {new_key()}"))
    assert invocation.error["errorType"] == "StoreError"
    assert lets_in(function, f"Bearer {KEY}")


@pytest.mark.usefixtures("processes")
def test_it_imports_little() -> None:
    """So that a cold start of it is nothing beside one of the function behind it."""
    code = "import sys, functions.aws_lambda.authorizer; print(*sys.modules)"
    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=TASK_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert not packages & {"boto3", "fastapi", "mangum", "pydantic", "starlette"}
