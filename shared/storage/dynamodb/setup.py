"""Creation of table and bucket, and what a store needs of them. Each step can be repeated."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from shared.storage.base import StoreError
from shared.storage.dynamodb.clients import Clients
from shared.storage.dynamodb.keys import RETENTION_DAYS, retention_prefix
from shared.storage.dynamodb.retries import Budget, RetryPolicy, error_code

if TYPE_CHECKING:
    from types_boto3_s3.literals import BucketLocationConstraintType
    from types_boto3_s3.type_defs import LifecycleRuleUnionTypeDef

_CREATION_SECONDS = 60.0
"""That a new table gets to become active; AWS takes about ten."""

_OUR_RULES = "pilotlight-"
"""What the names of our lifecycle rules begin with."""

_NOT_OFFERED = frozenset({"UnknownOperationException", "NotImplemented", "InternalFailure"})
"""How emulators say that they don't know an operation."""

_KEYS = {"pk": "HASH", "sk": "RANGE"}

_log = logging.getLogger("pilotlight.store")


def ensure_table(clients: Clients, policy: RetryPolicy, name: str) -> None:
    """See that there is the table, with expiry and backups. Raises as AWS does, or `StoreError`."""
    if _table_status(clients, policy, name) is None:
        _create_table(clients, policy, name)
    backoff = Budget(replace(policy, budget=max(policy.budget, _CREATION_SECONDS))).backoff()
    while (status := _table_status(clients, policy, name)) != "ACTIVE":
        backoff.pause(f"table {name} is {status or 'missing'}")
    _ensure_expiry(clients, policy, name)
    _ensure_backups(clients, policy, name)


def ensure_bucket(clients: Clients, policy: RetryPolicy, name: str) -> None:
    """See that there is the bucket, private and encrypted. Raises as AWS does, or `StoreError`."""
    budget = Budget(policy)
    try:
        budget.run(lambda: clients.s3.head_bucket(Bucket=name))
    except ClientError as error:
        if error_code(error) == "403":  # all that S3 says of it
            reason = "it is somebody else's, or the credentials don't permit it"
            raise StoreError(f"can't use bucket {name}: {reason}") from error
        if error_code(error) != "404":
            raise
        _create_bucket(clients, budget, name)
    _ensure_private(clients, budget, name)
    _ensure_encryption(clients, budget, name)
    _ensure_lifecycle(clients, budget, name)


def _table_status(clients: Clients, policy: RetryPolicy, name: str) -> str | None:
    """What state the table is in, None if there is none; `StoreError` if it is another's."""
    try:
        response = Budget(policy).run(lambda: clients.dynamodb.describe_table(TableName=name))
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise
    table = response["Table"]
    keys = {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}
    if keys != _KEYS:
        raise StoreError(f"table {name} is another's: its keys are {', '.join(keys)}")
    return table["TableStatus"]


def _create_table(clients: Clients, policy: RetryPolicy, name: str) -> None:
    try:
        Budget(policy).run(
            lambda: clients.dynamodb.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[
                    {"AttributeName": "pk", "AttributeType": "S"},
                    {"AttributeName": "sk", "AttributeType": "S"},
                ],
                KeySchema=[
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
            )
        )
    except ClientError as error:
        # Somebody was faster, or the answer to our first attempt got lost.
        if error_code(error) != "ResourceInUseException":
            raise


def _ensure_expiry(clients: Clients, policy: RetryPolicy, name: str) -> None:
    budget = Budget(policy)
    response = budget.run(lambda: clients.dynamodb.describe_time_to_live(TableName=name))
    if response["TimeToLiveDescription"].get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        attribute = response["TimeToLiveDescription"].get("AttributeName")
        if attribute != "ttl":
            raise StoreError(f"table {name} expires by {attribute!r} instead of 'ttl'")
        return
    budget.run(
        lambda: clients.dynamodb.update_time_to_live(
            TableName=name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"},
        )
    )


def _ensure_backups(clients: Clients, policy: RetryPolicy, name: str) -> None:
    budget = Budget(policy)
    try:
        response = budget.run(lambda: clients.dynamodb.describe_continuous_backups(TableName=name))
        recovery = response["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription")
        if recovery and recovery.get("PointInTimeRecoveryStatus") == "ENABLED":
            return
        budget.run(
            lambda: clients.dynamodb.update_continuous_backups(
                TableName=name,
                PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            )
        )
    except ClientError as error:
        if error_code(error) not in _NOT_OFFERED:
            raise
        _log.warning("No point-in-time recovery for table %s: %s", name, error)


def _create_bucket(clients: Clients, budget: Budget, name: str) -> None:
    region = cast("BucketLocationConstraintType", clients.s3.meta.region_name)
    try:
        if clients.s3.meta.region_name == "us-east-1":  # which S3 does not take as a constraint
            budget.run(lambda: clients.s3.create_bucket(Bucket=name))
        else:
            budget.run(
                lambda: clients.s3.create_bucket(
                    Bucket=name, CreateBucketConfiguration={"LocationConstraint": region}
                )
            )
    except ClientError as error:
        if error_code(error) != "BucketAlreadyOwnedByYou":
            raise


def _ensure_private(clients: Clients, budget: Budget, name: str) -> None:
    """Let nobody make anything of it public, unless that is set."""
    try:
        budget.run(lambda: clients.s3.get_public_access_block(Bucket=name))
    except ClientError as error:
        if error_code(error) != "NoSuchPublicAccessBlockConfiguration":
            raise
        budget.run(
            lambda: clients.s3.put_public_access_block(
                Bucket=name,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
        )


def _ensure_encryption(clients: Clients, budget: Budget, name: str) -> None:
    """Encrypt, unless it is set how: a key of the owner's shall stay."""
    try:
        budget.run(lambda: clients.s3.get_bucket_encryption(Bucket=name))
    except ClientError as error:
        if error_code(error) != "ServerSideEncryptionConfigurationNotFoundError":
            raise
        budget.run(
            lambda: clients.s3.put_bucket_encryption(
                Bucket=name,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
            )
        )


def _ensure_lifecycle(clients: Clients, budget: Budget, name: str) -> None:
    """Let bodies expire by the retention in their keys. Others' rules stay."""
    rules: list[LifecycleRuleUnionTypeDef] = [
        {
            "ID": f"{_OUR_RULES}{days}",
            "Status": "Enabled",
            "Filter": {"Prefix": retention_prefix(days)},
            "Expiration": {"Days": days},
        }
        for days in RETENTION_DAYS
    ]
    try:
        there = budget.run(lambda: clients.s3.get_bucket_lifecycle_configuration(Bucket=name))
        ids = {rule["ID"] for rule in there["Rules"]}
        if ids.issuperset(rule["ID"] for rule in rules):
            return
        rules += [rule for rule in there["Rules"] if not rule["ID"].startswith(_OUR_RULES)]
    except ClientError as error:
        if error_code(error) != "NoSuchLifecycleConfiguration":
            raise
    budget.run(
        lambda: clients.s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": rules}
        )
    )
