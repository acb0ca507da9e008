"""boto3 clients of DynamoDB and S3: connections, timeouts, threads."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from shared.storage.aws_session import new_session
from shared.storage.base import StoreError
from shared.storage.dynamodb.retries import RetryPolicy

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_s3 import S3Client

_CONNECTIONS = 64
"""Per service: more than the calls that one process makes at once."""


class Clients:
    """boto3's clients, made at the first call and shared by all threads.

    ``session`` has credentials and region; without one they are boto3's defaults, and so is the
    endpoint (``AWS_ENDPOINT_URL``) without ``endpoint_url``.
    """

    def __init__(
        self, policy: RetryPolicy, session: boto3.session.Session | None, endpoint_url: str | None
    ) -> None:
        self._policy = policy
        self._session = session
        self._endpoint_url = endpoint_url
        self._made: tuple[DynamoDBClient, S3Client] | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def dynamodb(self) -> DynamoDBClient:
        """The client for the table; raises botocore's errors where it can't be made."""
        return self._clients()[0]

    @property
    def s3(self) -> S3Client:
        """The client for the bucket; raises botocore's errors where it can't be made."""
        return self._clients()[1]

    def check_open(self) -> None:
        """Raise `StoreError` after `close`."""
        if self._is_closed:
            raise StoreError("the store is closed")

    def warm_up(self) -> None:
        """Make the clients, which connect at their first call only."""
        self._clients()

    def close(self) -> None:
        """Let go of the connections, for good."""
        with self._lock:
            self._is_closed = True
            made, self._made = self._made, None
        for client in made or ():
            client.close()

    def _clients(self) -> tuple[DynamoDBClient, S3Client]:
        with self._lock:  # making clients is not safe in several threads, using them is
            self.check_open()
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> tuple[DynamoDBClient, S3Client]:
        session = self._session or new_session()
        config = Config(
            connect_timeout=self._policy.connect_timeout,
            read_timeout=self._policy.read_timeout,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            # Attempts are counted in one place, which knows how much time is left: `Budget`.
            retries={"total_max_attempts": 1},
        )
        # Emulators are seldom known by the names of their buckets.
        style = Config(s3={"addressing_style": "path" if self._is_elsewhere() else "auto"})
        return (
            session.client("dynamodb", endpoint_url=self._endpoint_url, config=config),
            session.client("s3", endpoint_url=self._endpoint_url, config=config.merge(style)),
        )

    def _is_elsewhere(self) -> bool:
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        return bool(self._endpoint_url or any(os.environ.get(name) for name in names))
