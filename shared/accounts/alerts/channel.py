"""Channel: where the events of spend alerts are sent to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from shared.accounts.alerts.event import AlertEvent


class DeliveryError(Exception):
    """An event was not taken; the text says why, for the log."""


class Channel(ABC):
    """Where events are sent to. ``name`` is that in records of deliveries."""

    name: str

    @abstractmethod
    def send(self, event: AlertEvent) -> None:
        """Send an event. Blocking; raises `DeliveryError`."""
