"""infra/lifecycle.json is what `pilotlight store init` sets, for the bucket of the template."""

from __future__ import annotations

import json
from typing import Any

import boto3

from shared.config.settings import Settings
from shared.storage.dynamodb import DynamoDBStore
from tests.infra.template import ROOT, read
from tests.storage.dynamodb.moto_server import REGION, moto_server

OF_CUT_OFF_UPLOADS = "incomplete-uploads"
OF_PREFIXES = "prefixes"


def test_the_rules_are_those_of_the_store(stand_ins: None) -> None:
    rules = {rule["Id"]: rule for rule in json.loads(path().read_text())["Rules"]}
    del rules[OF_CUT_OFF_UPLOADS], rules[OF_PREFIXES]
    assert {name: (rule["Prefix"], rule["ExpirationInDays"]) for name, rule in rules.items()} == {
        rule["ID"]: (rule["Filter"]["Prefix"], rule["Expiration"]["Days"])
        for rule in rules_of_the_store()
    }
    assert all(rule["Status"] == "Enabled" for rule in rules.values())


def test_uploads_that_were_cut_off_are_cleared_away() -> None:
    (rule,) = (
        each for each in json.loads(path().read_text())["Rules"] if each["Id"] == OF_CUT_OFF_UPLOADS
    )
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Status"] == "Enabled"


def test_prefixes_are_deleted_when_they_count_no_longer() -> None:
    (rule,) = (
        each for each in json.loads(path().read_text())["Rules"] if each["Id"] == OF_PREFIXES
    )
    hours = Settings.model_fields["prefix_store_hours"].default
    assert rule["ExpirationInDays"] == hours / 24
    variables = read()["Resources"]["InferenceFunction"]["Properties"]["Environment"]["Variables"]
    (store,) = (
        each["Fn::Sub"]
        for each in variables["PILOTLIGHT_PREFIX_STORE"]["Fn::If"]
        if isinstance(each, dict)
    )
    assert store + "/" == "s3://${Bucket}/" + rule["Prefix"]
    assert rule["Status"] == "Enabled"


def path() -> Any:
    """The file that the template includes."""
    properties = read()["Resources"]["Bucket"]["Properties"]
    include = properties["LifecycleConfiguration"]["Fn::Transform"]
    assert include["Name"] == "AWS::Include"
    return ROOT / include["Parameters"]["Location"]


def rules_of_the_store() -> list[Any]:
    """What a bucket has after the store has set it up."""
    with moto_server() as url:
        session = boto3.session.Session("testing", "testing", region_name=REGION)
        store = DynamoDBStore("lifecycle", "lifecycle", session=session, endpoint_url=url)
        store.initialize()
        store.close()
        s3 = session.client("s3", endpoint_url=url)
        return list(s3.get_bucket_lifecycle_configuration(Bucket="lifecycle")["Rules"])
