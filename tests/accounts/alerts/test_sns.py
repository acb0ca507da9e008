"""Spend alerts in an SNS topic, by boto3 over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.accounts.alerts.channel import DeliveryError
from shared.accounts.alerts.event import AlertEvent
from shared.accounts.alerts.sns import SnsTopic
from shared.accounts.limits import CENT
from shared.accounts.types import SpendAlert
from tests.storage.dynamodb.aws import new_session
from tests.storage.dynamodb.moto_server import ENVIRONMENT

pytestmark = pytest.mark.integration

EVENT = AlertEvent(
    id="evt_1",
    created_at=1_800_000_000,
    alert=SpendAlert(id="alert_1", threshold=100, subject_prefix="[llm]"),
    project=None,
    month="2027-01",
    spent=101 * CENT,
)


@pytest.fixture(autouse=True)
def _aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": moto_url}.items():
        monkeypatch.setenv(name, value)
    # Another region than the topic's, as a function's may be.
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


def _client(service: str, url: str) -> Any:
    session: Any = new_session()
    return session.client(service, endpoint_url=url)


@pytest.mark.parametrize("ending", ["", ".fifo"])
def test_subscribers_get_the_event(moto_url: str, ending: str) -> None:
    sns, sqs = _client("sns", moto_url), _client("sqs", moto_url)
    fifo = {"FifoTopic": "true"} if ending else {}
    topic = sns.create_topic(Name=f"alerts{ending}", Attributes=fifo)["TopicArn"]
    fifo = {"FifoQueue": "true"} if ending else {}
    queue = sqs.create_queue(QueueName=f"alerts{ending}", Attributes=fifo)["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])
    SnsTopic(topic).send(EVENT)
    (received,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    notification = json.loads(received["Body"])
    assert notification["Message"] == EVENT.body.decode()
    assert notification["Subject"] == "[llm] $1.00 spent by all projects"


def test_a_topic_that_is_not_there_is_said() -> None:
    with pytest.raises(DeliveryError, match="SNS answered NotFound"):
        SnsTopic("arn:aws:sns:us-east-1:123456789012:nowhere").send(EVENT)


def test_a_service_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DeliveryError, match="SNS can't be reached"):
        SnsTopic("arn:aws:sns:us-east-1:123456789012:alerts").send(EVENT)
