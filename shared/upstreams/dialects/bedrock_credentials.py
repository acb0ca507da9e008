"""AWS credentials and signatures (SigV4) for requests to Bedrock.

botocore finds the credentials where all of AWS' programs do, and renews them: that may ask other
services, so it is nothing for an event loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from shared.upstreams.headers import Headers

_log = logging.getLogger("pilotlight.upstreams")
logging.getLogger("botocore.auth").setLevel(logging.INFO)  # below, it logs session tokens


class AWSSigner:
    """Signatures with the credentials of this process; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None

    def signed(self, url: str, headers: Headers, body: bytes, region: str) -> Headers | None:
        """``headers`` of a POST of ``body`` with those that sign it; None without credentials."""
        try:
            credentials = self._found()
            frozen = None if credentials is None else credentials.get_frozen_credentials()
        except BotoCoreError as error:
            _log.warning("No AWS credentials: %s", error)
            return None
        if frozen is None:
            _log.warning("No AWS credentials are found for Bedrock")
            return None
        named: Mapping[str, str] = {
            "host": urlsplit(url).netloc,
            **{name.decode(): value.decode() for name, value in headers},
        }
        request = AWSRequest(method="POST", url=url, headers=named, data=body)
        SigV4Auth(frozen, "bedrock", region).add_auth(request)
        del request.headers["host"]
        return [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]

    def _found(self) -> Credentials | None:
        with self._lock:
            if self._credentials is None:
                self._credentials = Session().get_credentials()
            return self._credentials


signer = AWSSigner()
"""The one of this process."""
