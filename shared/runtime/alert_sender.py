"""Sending of spend alerts while a request is served, before its last bytes leave.

A function that is frozen afterwards would send nothing. A customer waits for it once a month and
alert, and not for long; what has failed is tried again by later requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from shared.accounts.alerts.channel import Channel, DeliveryError
from shared.accounts.alerts.deliveries import Delivery
from shared.accounts.alerts.sns import SnsTopic
from shared.accounts.alerts.spend_watch import SpendWatch
from shared.accounts.alerts.webhook import Webhook
from shared.accounts.limits import NANODOLLARS
from shared.runtime.request_context import current
from shared.storage.base import StoreError

if TYPE_CHECKING:
    from shared.accounts.accounts import Accounts
    from shared.accounts.types import Clock, Organization, Project, SpendAlert
    from shared.config.settings import Settings

_SECONDS = 2.5
"""That a request waits at most."""

_ORGANIZATION = "the organization"
"""Whose spending it is, beside projects'."""

_log = logging.getLogger("pilotlight.accounts")


class AlertSender:
    """Sends the alerts whose thresholds this process sees reached. Used on an event loop."""

    def __init__(
        self,
        in_accounts: Callable[[Callable[[Accounts], None]], Awaitable[None]],
        channels: Sequence[Channel],
        clock: Clock,
    ) -> None:
        """``in_accounts`` does work on a thread."""
        self._in_accounts = in_accounts
        self._channels = channels
        self._clock = clock
        self._watch = SpendWatch()

    async def settled(self, project: Project, cost: int) -> None:
        """Send what is due now that a project has spent ``cost`` nanodollars; raises nothing."""
        now = self._clock()

        def spent(accounts: Accounts) -> int:
            return accounts.ledger.counters(project.id).spent_in_month(now)

        self._watch.add(project.id, cost, now)
        await self._look_and_send(project.spend_alerts, project, spent, now)

    async def summed_up(self, organization: Organization, spent: int) -> None:
        """Send what is due where all projects have spent so many nanodollars; raises nothing."""
        now = self._clock()
        self._watch.note(_ORGANIZATION, spent, now)
        await self._look_and_send(organization.spend_alerts, None, lambda _: spent, now)

    async def _look_and_send(
        self,
        alerts: Sequence[SpendAlert],
        project: Project | None,
        spent: Callable[[Accounts], int],
        now: float,
    ) -> None:
        """See what was spent where it is time to, and send what that calls for."""
        owner = _ORGANIZATION if project is None else project.id
        if not _has_time() or not self._watch.begin(owner, alerts, now):
            return

        def work(accounts: Accounts) -> None:
            found = None
            try:
                found = spent(accounts)
                for alert in self._watch.reached(owner, alerts, found, now):
                    until = self._send(accounts, alert, project, found)
                    self._watch.quiet(owner, alert, until, now)
            except StoreError as error:
                _log.error("the spend alerts of %s are not checked: %s", owner, error)
            except Exception:
                _log.exception("the spend alerts of %s are not checked", owner)
            finally:
                self._watch.end(owner, found, now)

        looking = asyncio.ensure_future(self._in_accounts(work))
        # It goes on where the request does not wait; one that is cut off is tried again.
        await asyncio.wait([looking], timeout=_SECONDS)

    def _send(
        self, accounts: Accounts, alert: SpendAlert, project: Project | None, spent: int
    ) -> float:
        """Send an alert where nobody else does; until when nothing is to be done for it then."""
        claimed = accounts.alert_deliveries.claim(alert, project, spent)
        if not isinstance(claimed, Delivery):
            return claimed
        event = claimed.event
        if claimed.attempt == 1:
            _log.warning(
                "spend alert %s of %s: $%.2f of $%.2f spent in %s",
                alert.id,
                event.whose,
                event.spent / NANODOLLARS,
                alert.threshold / 100,
                event.month,
            )
        delivered = [*claimed.delivered, *self._delivered(claimed)]
        is_delivered = all(channel.name in delivered for channel in self._channels)
        is_over = is_delivered or claimed.is_last
        if is_over and not is_delivered:
            _log.error(
                "spend alert %s of %s is given up after %d attempts",
                alert.id,
                event.whose,
                claimed.attempt,
            )
        accounts.alert_deliveries.note(claimed, delivered, is_over=is_over)
        return float("inf") if is_over else claimed.retry_at

    def _delivered(self, claimed: Delivery) -> list[str]:
        """Names of the channels that have taken it now."""
        names = []
        for channel in self._channels:
            if channel.name in claimed.delivered:
                continue
            try:
                channel.send(claimed.event)
            except DeliveryError as error:
                _log.warning(
                    "spend alert %s of %s was not delivered by %s (attempt %d): %s",
                    claimed.event.alert.id,
                    claimed.event.whose,
                    channel.name,
                    claimed.attempt,
                    error,
                )
            else:
                names.append(channel.name)
        return names


def channels(settings: Settings, clock: Clock) -> Sequence[Channel]:
    """Where alerts are sent to."""
    secrets = [secret.get_secret_value() for secret in settings.webhook_secret]
    found: list[Channel] = []
    if settings.webhook_url:
        found.append(Webhook(settings.webhook_url, secrets, clock))
    if settings.alert_topic:
        found.append(SnsTopic(settings.alert_topic))
    return found


def _has_time() -> bool:
    """Whether the request's platform leaves time to wait."""
    context = current()
    deadline = context.deadline if context is not None else None
    return deadline is None or deadline.end_of_storing - time.monotonic() > 2 * _SECONDS
