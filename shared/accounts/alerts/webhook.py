"""Webhook: events as signed requests, by the scheme of Standard Webhooks, which OpenAI's are of.

So ``client.webhooks.verify_signature`` of the `openai` package checks them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from shared.accounts.alerts.channel import Channel, DeliveryError
from shared.accounts.alerts.event import AlertEvent
from shared.accounts.types import Clock

SECRET_PREFIX = "whsec_"
_SECONDS = 2.0
"""To connect, to send, and to answer."""


class Webhook(Channel):
    """A URL that gets events as POST requests; redirects are not followed."""

    name = "webhook"

    def __init__(self, url: str, secrets: Sequence[str], clock: Clock) -> None:
        """``secrets``: ``whsec_`` and base64 each; every one of them signs."""
        self._url = url
        self._keys = [base64.b64decode(each.removeprefix(SECRET_PREFIX)) for each in secrets]
        self._clock = clock

    def send(self, event: AlertEvent) -> None:
        """See `Channel.send`."""
        import urllib3  # not at start

        body = event.body
        headers = {
            "content-type": "application/json",
            "user-agent": "pilotlight",
            **self.headers(event.id, body),
        }
        timeout = urllib3.Timeout(total=_SECONDS)
        try:
            with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
                response = pool.request(
                    "POST",
                    self._url,
                    body=body,
                    headers=headers,
                    redirect=False,
                    preload_content=False,  # nobody wants to know what it answers
                )
                status = response.status
                response.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # Without what it says, in which there is the URL, and in that maybe a secret.
            raise DeliveryError(f"it can't be reached: {type(error).__name__}") from None
        if 300 <= status < 400:
            raise DeliveryError(f"it answered {status}, and redirects are not followed")
        if not 200 <= status < 300:
            raise DeliveryError(f"it answered {status}")

    def headers(self, event_id: str, body: bytes) -> dict[str, str]:
        """The headers that identify and sign a request that is sent now."""
        timestamp = str(int(self._clock()))
        signed = b".".join((event_id.encode(), timestamp.encode(), body))
        digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in self._keys)
        signatures = (f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
        return {
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }
