"""Credentials, region and endpoint of S3, as AWS's library finds them; proxies, certificates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path

from shared.models.errors import ModelSourceError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class S3Access:
    """All that a fetch needs of AWS's library, for as long as it lasts."""

    def __init__(self) -> None:
        """Raises `ModelSourceError`."""
        self._region: str | None = None
        self._clients: list[S3Client] = []
        self.renew()
        # The library uses these for its own requests, too.
        named = self._session.get_config_variable("ca_bundle")
        self.ca_bundle = str(named or os.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True))
        """A file of the certificates to trust."""
        if not Path(self.ca_bundle).is_file():
            raise ModelSourceError(f"can't use S3: no such file of certificates: {self.ca_bundle}")

    @property
    def client(self) -> S3Client:
        """The library's client, for the region where it found the last object.

        Requests are redirected there, but addresses are signed for the client's region.
        """
        if self._region not in (None, self._client.meta.region_name):
            self.renew()
        return self._client

    def close(self) -> None:
        """Hang up, and let go of all clients and their credentials.

        AWS's library refers to itself in circles: what it was in memory goes when the collector
        runs next, which whoever starts a server or takes a snapshot has it do.
        """
        while self._clients:
            self._clients.pop().close()
        del self._client, self._session

    def renew(self) -> None:
        """Look everything up anew, since credentials have expired or were replaced."""
        self._session = botocore.session.Session()
        try:
            self._client: S3Client = boto3.session.Session(botocore_session=self._session).client(
                "s3",
                region_name=self._region,
                config=Config(
                    signature_version="s3v4",
                    connect_timeout=5,
                    read_timeout=15,
                    retries={"mode": "standard", "total_max_attempts": 5},
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise ModelSourceError(f"can't use S3: {error}") from error
        self._clients.append(self._client)
        self._client.meta.events.register("response-received.s3.HeadObject", self._note_region)

    def _note_region(self, response_dict: dict[str, Any] | None, **_: object) -> None:
        """A redirection says where the bucket is."""
        if response_dict is not None:
            self._region = response_dict["headers"].get("x-amz-bucket-region", self._region)
