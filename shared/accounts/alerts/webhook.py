"""Webhook: events as signed requests, by the scheme of Standard Webhooks, which OpenAI's are of.

So ``client.webhooks.verify_signature`` of the `openai` package checks them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.accounts.alerts.event import AlertEvent
from shared.accounts.types import Clock

if TYPE_CHECKING:
    import httpx2

SECRET_PREFIX = "whsec_"
_SECONDS = 2.0
"""To connect, to send, and to answer, each."""


class DeliveryError(Exception):
    """An event was not taken; the text says why, for the log."""


class Channel(ABC):
    """Where events are sent to. ``name`` is that in records of deliveries."""

    name: str

    @abstractmethod
    def send(self, event: AlertEvent) -> None:
        """Send an event. Blocking; raises `DeliveryError`."""


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
        import httpx2  # takes 0.1 s, which no start shall

        body = event.body
        headers = {
            "content-type": "application/json",
            "user-agent": "pilotlight",
            **self.headers(event.id, body),
        }
        try:
            with (
                httpx2.Client(timeout=_SECONDS, follow_redirects=False) as client,
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise DeliveryError(_reason(error)) from None
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


def _reason(error: httpx2.HTTPError | Exception) -> str:
    """Without the URL, which may hold a secret."""
    return f"it can't be reached: {type(error).__name__}"
