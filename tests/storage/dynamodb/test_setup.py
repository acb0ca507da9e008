"""Table and bucket are created once, as they should be, or it is said why not."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import boto3
import pytest

from shared.storage.base import StoreError
from shared.storage.dynamodb import DynamoDBStore
from shared.storage.dynamodb.keys import RETENTION_DAYS
from shared.storage.location import open_store
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws, new_session
from tests.storage.dynamodb.faults import Fault, FaultyProxy
from tests.storage.dynamodb.moto_server import ENVIRONMENT
from tests.storage.dynamodb.test_faults import SHORT_DELAYS, once

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

WRITES = ("CreateTable", "UpdateTimeToLive", "UpdateContinuousBackups", "PUT")


@pytest.fixture
def nowhere(moto_url: str) -> Aws:
    """Names of a table and a bucket that are not there."""
    return Aws.fresh(moto_url)


@pytest.fixture(scope="module")
def dynamodb(moto_url: str) -> DynamoDBClient:
    """To see what the table is like."""
    return new_session().client("dynamodb", endpoint_url=moto_url)


@pytest.fixture(scope="module")
def s3(moto_url: str) -> S3Client:
    """To see what the bucket is like."""
    return new_session().client("s3", endpoint_url=moto_url)


def initialize(aws: Aws, url: str | None = None) -> None:
    """Create what is missing."""
    with closing(aws.store(url, retries=SHORT_DELAYS)) as store:
        store.initialize()


def check(aws: Aws, dynamodb: DynamoDBClient, s3: S3Client) -> None:
    """Check that everything is as it should be."""
    table = dynamodb.describe_table(TableName=aws.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    expiry = dynamodb.describe_time_to_live(TableName=aws.table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    backups = dynamodb.describe_continuous_backups(TableName=aws.table)
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    access = s3.get_public_access_block(Bucket=aws.bucket)["PublicAccessBlockConfiguration"]
    assert len(access) == 4
    assert all(access.values())
    encryption = s3.get_bucket_encryption(Bucket=aws.bucket)["ServerSideEncryptionConfiguration"]
    assert encryption["Rules"][0]["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "AES256"
    }
    rules = s3.get_bucket_lifecycle_configuration(Bucket=aws.bucket)["Rules"]
    ours = [rule for rule in rules if rule["ID"].startswith("pilotlight-")]
    assert {(rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in ours} == {
        (f"completions/retention={days}/", days) for days in RETENTION_DAYS
    }


def test_a_new_table_and_bucket_have_all_that_a_store_needs(
    nowhere: Aws, dynamodb: DynamoDBClient, s3: S3Client
) -> None:
    initialize(nowhere)

    check(nowhere, dynamodb, s3)


def test_the_second_time_changes_nothing(nowhere: Aws, proxy: FaultyProxy) -> None:
    initialize(nowhere, proxy.url)
    assert [call for call in proxy.calls if call in WRITES]
    proxy.reset()

    initialize(nowhere, proxy.url)

    assert not [call for call in proxy.calls if call in WRITES]


def test_answers_that_get_lost_on_the_way_are_not_noticed(
    moto_url: str, proxy: FaultyProxy, dynamodb: DynamoDBClient, s3: S3Client
) -> None:
    initialize(Aws.fresh(moto_url), proxy.url)
    n_calls = len(proxy.calls)
    for at in range(n_calls):
        aws = Aws.fresh(moto_url)
        proxy.reset(once(Fault("reset", is_late=True), at))

        initialize(aws, proxy.url)

        check(aws, dynamodb, s3)


def test_what_is_set_on_a_bucket_stays(nowhere: Aws, s3: S3Client) -> None:
    s3.create_bucket(Bucket=nowhere.bucket)
    s3.put_bucket_lifecycle_configuration(
        Bucket=nowhere.bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "logs",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "logs/"},
                    "Expiration": {"Days": 3},
                }
            ]
        },
    )
    key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "our-key"}
    s3.put_bucket_encryption(
        Bucket=nowhere.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [
                {
                    "ApplyServerSideEncryptionByDefault": {
                        "SSEAlgorithm": "aws:kms",
                        "KMSMasterKeyID": "our-key",
                    }
                }
            ]
        },
    )

    initialize(nowhere)

    rules = s3.get_bucket_lifecycle_configuration(Bucket=nowhere.bucket)["Rules"]
    assert [rule["Expiration"] for rule in rules if rule["ID"] == "logs"] == [{"Days": 3}]
    assert len(rules) == 1 + len(RETENTION_DAYS)
    encryption = s3.get_bucket_encryption(Bucket=nowhere.bucket)
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == key


def test_another_programs_table_is_refused(nowhere: Aws, dynamodb: DynamoDBClient) -> None:
    dynamodb.create_table(
        TableName=nowhere.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )

    with pytest.raises(StoreError, match="its keys are id"):
        initialize(nowhere)


def test_a_table_that_expires_by_something_else_is_refused(
    nowhere: Aws, dynamodb: DynamoDBClient
) -> None:
    initialize(nowhere)
    for name, is_enabled in (("ttl", False), ("until", True)):
        dynamodb.update_time_to_live(
            TableName=nowhere.table,
            TimeToLiveSpecification={"Enabled": is_enabled, "AttributeName": name},
        )

    with pytest.raises(StoreError, match="expires by 'until'"):
        initialize(nowhere)


def test_a_region_that_needs_naming_is_named(nowhere: Aws, s3: S3Client) -> None:
    session = boto3.session.Session(
        ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name="eu-central-1",
    )

    with closing(nowhere.store(session=session)) as store:
        store.initialize()

    location = s3.get_bucket_location(Bucket=nowhere.bucket)
    assert location["LocationConstraint"] == "eu-central-1"


def test_a_process_without_a_region_is_told(nowhere: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)

    with (
        closing(DynamoDBStore(nowhere.table, nowhere.bucket)) as store,
        pytest.raises(StoreError, match="region"),
    ):
        store.initialize()


def test_the_environment_says_where_the_store_is(
    shared_aws: Aws, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # By name, as emulators are reached: then the bucket must not become a part of it.
    url = shared_aws.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    completion = sample(tenant=tenant)

    store = open_store(f"dynamodb:{shared_aws.table},{shared_aws.bucket}")

    assert isinstance(store, DynamoDBStore)
    with closing(store):
        store.put(completion)
        assert store.get(tenant, "chat", completion.id) == completion


def test_a_closed_store_says_so(shared_aws: Aws, tenant: str) -> None:
    store = shared_aws.store()
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.get(tenant, "chat", sample(tenant=tenant).id)
