"""SNS topic: events for whatever has subscribed to it, such as e-mail addresses and queues."""

from __future__ import annotations

from typing import Any

from shared.accounts.alerts.channel import Channel, DeliveryError
from shared.accounts.alerts.event import AlertEvent

_SECONDS = 2.0
"""To connect, and to answer, each."""


class SnsTopic(Channel):
    """A topic in any region; credentials are boto3's defaults, made anew for each event.

    A function that was restored from a snapshot has others than it had before.
    """

    name = "sns"

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._region = arn.split(":")[3]

    def send(self, event: AlertEvent) -> None:
        """See `Channel.send`."""
        import boto3  # not at start
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        config = Config(
            connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1}
        )
        session: Any = boto3.session.Session()  # without what types this service has
        message = {"TopicArn": self._arn, "Subject": event.subject, "Message": event.body.decode()}
        if self._arn.endswith(".fifo"):
            message |= {"MessageGroupId": "spend-alerts", "MessageDeduplicationId": event.id}
        try:
            client = session.client("sns", region_name=self._region, config=config)
            try:
                client.publish(**message)
            finally:
                client.close()
        except ClientError as error:
            raise DeliveryError(f"SNS answered {error.response['Error']['Code']}") from None
        except BotoCoreError as error:
            raise DeliveryError(f"SNS can't be reached: {type(error).__name__}") from None
