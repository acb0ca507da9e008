"""Access to S3 as AWS's library finds it: credentials, region, endpoint, certificates, proxies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path

from shared.models.http_connection import Connector
from shared.models.source_error import ModelSourceError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class S3Access:
    """All that a fetch needs of AWS's library, for as long as it lasts."""

    def __init__(self) -> None:
        """Raises `ModelSourceError`."""
        self.client: S3Client
        self.renew()
        # The library uses these for its own requests, too.
        ca_bundle = self._session.get_config_variable("ca_bundle")
        self.connector = Connector(
            ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
        )
        """For requests to addresses that were signed."""

    def renew(self) -> None:
        """Look everything up anew, since credentials have expired or were replaced."""
        self._session = botocore.session.Session()
        try:
            self.client = boto3.session.Session(botocore_session=self._session).client(
                "s3",
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=5,
                    read_timeout=15,
                    retries={"mode": "standard", "total_max_attempts": 5},
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise ModelSourceError(f"can't use S3: {error}") from error
