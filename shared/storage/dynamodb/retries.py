"""Retries of calls to AWS: which errors pass, and how long one waits for that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.parsers import ResponseParserError

from shared.storage.base import DamagedCompletionError, StoreError

AWS_ERRORS = (ClientError, BotoCoreError, ResponseParserError)
"""All that a call to AWS raises."""

_TRANSIENT_ERRORS = (
    ConnectionError,
    HTTPClientError,  # time-outs, connections that were reset or closed early, broken streams
    IncompleteReadError,
    ChecksumError,
    FlexibleChecksumError,
    ResponseParserError,
)
_TRANSIENT_CODES = frozenset(
    {
        "ConditionalRequestConflict",
        "ContinuousBackupsUnavailableException",  # of a table that is seconds old
        "InternalError",
        "InternalServerError",
        "LimitExceededException",
        "OperationAborted",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
_TRANSIENT_REASONS = frozenset(
    {"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
)
"""Why a transaction may be cancelled although it will do at the next attempt."""
_CONDITION_FAILED = "ConditionalCheckFailed"

_PERMISSIONS = "infra/iam says what has to be permitted"
_EXPIRED = "the AWS credentials have expired: renew them"
_ADVICE = {
    "ResourceNotFoundException": "'pilotlight store init' creates the table",
    "NoSuchBucket": "'pilotlight store init' creates the bucket",
    "403": _PERMISSIONS,
    "AccessDenied": _PERMISSIONS,
    "AccessDeniedException": _PERMISSIONS,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
}
"""What helps against errors, by AWS's names of them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long an operation of the store may take, and an attempt at a call. All in seconds.

    The pauses between attempts grow from ``first_delay`` to ``longest_delay`` by doubling, and are
    random up to that ("full jitter"), so that clients which failed together don't return together.
    Raises `ValueError` if the budget is too small for one attempt.
    """

    budget: float = 10.0
    connect_timeout: float = 1.0
    read_timeout: float = 3.0
    first_delay: float = 0.05
    longest_delay: float = 1.0

    def __post_init__(self) -> None:
        if self.budget < self.attempt:
            raise ValueError(f"a budget of {self.budget} s has no room for one attempt")

    @property
    def attempt(self) -> float:
        """The longest that an attempt takes whose response does not come."""
        return self.connect_timeout + self.read_timeout


class Budget:
    """The time that one operation has for all its calls. Threads may share it.

    No attempt starts that might end too late, so the operation ends within the budget either way.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._started = time.monotonic()

    def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns, at the first attempt that does not fail for a moment only.

        Raises `StoreError` when the budget is spent, and other errors of AWS as they are.
        """
        backoff = self.backoff()
        self.check(0, "earlier calls took too long")
        while True:
            try:
                return call()
            except AWS_ERRORS as error:
                if not is_transient(error):
                    raise
                backoff.pause(_describe(error))

    def backoff(self) -> Backoff:
        """Pauses, the first of which is the shortest."""
        return Backoff(self, self._policy)

    def check(self, delay: float, reason: str) -> None:
        """Raise `StoreError` if an attempt after ``delay`` seconds might end too late."""
        spent = time.monotonic() - self._started
        if spent + delay + self._policy.attempt > self._policy.budget:
            raise StoreError(f"gave up after {spent:.1f} s: {reason}")


class Backoff:
    """Pauses of growing length, as long as the budget has room for another attempt."""

    def __init__(self, budget: Budget, policy: RetryPolicy) -> None:
        self._budget = budget
        self._policy = policy
        self._limit = policy.first_delay

    def pause(self, reason: str) -> None:
        """Wait before another attempt. Raises `StoreError` with ``reason`` if there is no time."""
        delay = random.uniform(0, self._limit)
        self._budget.check(delay, reason)
        self._limit = min(2 * self._limit, self._policy.longest_delay)
        time.sleep(delay)


def error_code(error: BaseException) -> str:
    """AWS's name of an error, empty for errors that did not come from AWS."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later."""
    if not isinstance(error, ClientError):
        return isinstance(error, _TRANSIENT_ERRORS)
    if error_code(error) == "TransactionCanceledException":
        return _cancellation_reasons(error) <= _TRANSIENT_REASONS
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or status == 429 or error_code(error) in _TRANSIENT_CODES


def may_have_succeeded(error: BaseException) -> bool:
    """Whether AWS may have done what it was asked to: what it refuses it has not done."""
    if not isinstance(error, ClientError):
        return True
    return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500)


def is_failed_condition(error: ClientError) -> bool:
    """Whether a transaction was cancelled since a condition of it does not hold."""
    return _CONDITION_FAILED in _cancellation_reasons(error)


@contextmanager
def as_store_errors(location: str) -> Iterator[None]:
    """Let errors leave as `StoreError` that names ``location``, with advice where there is some.

    AWS's own messages name neither the table nor the bucket.
    """
    try:
        yield
    except AWS_ERRORS as error:
        advice = _ADVICE.get(error_code(error))
        text = f"{location}: {_describe(error)}"
        raise StoreError(f"{text} ({advice})" if advice else text) from error
    except DamagedCompletionError:  # which has its place in it
        raise
    except StoreError as error:
        raise StoreError(f"{location}: {error}") from error


def _describe(error: BaseException) -> str:
    """An error of AWS without what botocore says of its own attempts, of which it makes one."""
    if not isinstance(error, ClientError):
        return str(error)
    message = error.response["Error"].get("Message", "no reason given")
    return f"{error.operation_name} failed with {error_code(error)}: {message}"


def _cancellation_reasons(error: ClientError) -> set[str]:
    reasons = error.response.get("CancellationReasons", [])
    return {str(reason.get("Code", "None")) for reason in reasons}
