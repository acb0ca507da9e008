"""The policies in infra/iam permit what is done, and nothing else; what is not permitted is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from shared.storage.base import StoreError
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws, new_session
from tests.storage.dynamodb.moto_server import REGION

POLICIES = Path(__file__).parents[3] / "infra" / "iam"

ACTIONS = {
    "BatchGetItem": ["dynamodb:BatchGetItem"],
    "CreateBucket": ["s3:CreateBucket"],
    "CreateTable": ["dynamodb:CreateTable"],
    "DeleteItem": ["dynamodb:DeleteItem"],
    "DeleteObject": ["s3:DeleteObject"],
    "DescribeContinuousBackups": ["dynamodb:DescribeContinuousBackups"],
    "DescribeTable": ["dynamodb:DescribeTable"],
    "DescribeTimeToLive": ["dynamodb:DescribeTimeToLive"],
    "GetBucketEncryption": ["s3:GetEncryptionConfiguration"],
    "GetBucketLifecycleConfiguration": ["s3:GetLifecycleConfiguration"],
    "GetItem": ["dynamodb:GetItem"],
    "GetObject": ["s3:GetObject", "s3:ListBucket"],
    "GetPublicAccessBlock": ["s3:GetBucketPublicAccessBlock"],
    "HeadBucket": ["s3:ListBucket"],
    "PutBucketEncryption": ["s3:PutEncryptionConfiguration"],
    "PutBucketLifecycleConfiguration": ["s3:PutLifecycleConfiguration"],
    "PutObject": ["s3:PutObject"],
    "PutPublicAccessBlock": ["s3:PutBucketPublicAccessBlock"],
    "Query": ["dynamodb:Query"],
    "TransactWriteItems": ["dynamodb:DeleteItem", "dynamodb:PutItem"],
    "UpdateContinuousBackups": ["dynamodb:UpdateContinuousBackups"],
    "UpdateTimeToLive": ["dynamodb:UpdateTimeToLive"],
}
"""What a call has to be permitted, by AWS's service authorization reference.

``ListBucket`` makes a missing object 404 rather than 403.
"""


def permitted(name: str) -> set[str]:
    """The actions that a policy names."""
    policy: dict[str, Any] = json.loads((POLICIES / name).read_text())
    actions: set[str] = set()
    for statement in policy["Statement"]:
        action = statement["Action"]
        actions |= {action} if isinstance(action, str) else set(action)
    return actions


def needed(session: boto3.session.Session) -> set[str]:
    """The actions that the session's clients need; grows with the calls that they make."""
    actions: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        actions.update(ACTIONS[model.name])

    session.events.register("before-call.*.*", note)
    return actions


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.json")), ids=lambda path: path.stem)
def test_a_policy_is_one(path: Path) -> None:
    IAMPolicyDocumentValidator(path.read_text()).validate()


def test_a_store_is_permitted_what_it_does_and_nothing_else(shared_aws: Aws, tenant: str) -> None:
    session = new_session()
    actions = needed(session)
    completion = sample(tenant=tenant, metadata={"k": "v"})

    with closing(shared_aws.store(session=session)) as store:
        store.put(completion)
        store.list(CompletionQuery(tenant=tenant, kind="chat", metadata={"k": "v"}))
        store.update_metadata(tenant, "chat", completion.id, {})
        store.delete(tenant, "chat", completion.id)
        store.sweep()

    assert actions == permitted("completions-store.json")


def test_setting_up_is_permitted_what_it_does_and_nothing_else(moto_url: str) -> None:
    session = new_session()
    actions = needed(session)

    with closing(Aws.fresh(moto_url).store(session=session)) as store:
        store.initialize()

    assert actions == permitted("completions-store-init.json")


@contextmanager
def user(name: str, *actions: str) -> Iterator[boto3.session.Session]:
    """A session of a new user who may do just that, on a server that looks at permissions."""
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    iam.create_user(REGION, name, "/")
    statement = {"Effect": "Allow", "Action": ["iam:GetUser", *actions], "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": statement}
    iam.put_user_policy(name, "policy", json.dumps(policy))
    key = iam.create_access_key(name)
    session = boto3.session.Session(key.access_key_id, key.secret_access_key, region_name=REGION)
    with (
        patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0),
        patch.object(ActionAuthenticatorMixin, "request_count", 0),
    ):
        yield session


def test_a_user_who_may_not_create_the_table_is_told(moto_url: str, tenant: str) -> None:
    nowhere = Aws.fresh(moto_url)
    with (
        user(tenant) as session,
        closing(nowhere.store(session=session)) as store,
        pytest.raises(
            StoreError, match=r"(?s)not authorized to perform: dynamodb:DescribeTable.*infra/iam"
        ),
    ):
        store.initialize()


def test_a_user_who_may_not_use_the_bucket_is_told(moto_url: str, tenant: str) -> None:
    nowhere = Aws.fresh(moto_url)
    with (
        user(tenant, "dynamodb:*") as session,
        closing(nowhere.store(session=session)) as store,
        pytest.raises(StoreError, match=f"can't use bucket {nowhere.bucket}"),
    ):
        store.initialize()
