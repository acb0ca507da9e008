"""Model loading around Lambda's initialization, which is limited to 10 seconds.

On demand, Lambda ends an initialization after 10 seconds and starts it all over, within the first
invocation. A model that takes longer would be fetched twice. So initialization ends earlier, and
the first invocation goes on waiting while the model is loaded on its thread.

With SnapStart and provisioned concurrency, initialization has the function's timeout (130 seconds
at least), and what it leaves is what all copies start with: it ends with the model, or it fails.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

import logging
import time

from functions.aws_lambda.initialization import end_initialization, is_on_demand
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState

_INIT_SECONDS = 8.0
"""Waited for the model within the 10 seconds, the imports before it included."""
_RETRY_SECONDS = 30.0
"""From a failure to the next attempt: each may fetch gigabytes, and somebody waits for it."""
_ANSWER_SECONDS = 1.0
"""Left of an invocation's time to say that the model is still loading."""

_log = logging.getLogger("pilotlight")


class ModelStart:
    """Has the model loaded before requests are handled, as far as Lambda's time limits allow."""

    def __init__(self, state: ServerState, started: float) -> None:
        """``started``: when initialization began, on `time.monotonic`'s clock."""
        self._state = state
        self._started = started
        self._failed_at: float | None = None

    def initialize(self) -> None:
        """Wait for the model; ends the process if it can't be loaded ahead of all invocations.

        On demand an invocation is there already. Its caller gets an error that says something,
        which a failed initialization would not give.
        """
        if is_on_demand():
            self._wait(self._started + _INIT_SECONDS - time.monotonic())
            return
        try:
            self._state.loader.wait()
        except Exception as error:  # whatever it was, it is what went wrong
            end_initialization(f"the model could not be loaded: {error}")

    def await_model(self, remaining: float) -> None:
        """Wait for the model in an invocation that has ``remaining`` seconds.

        Returns without it when time is short, or when it could not be loaded: the app says so to
        whoever needs it. An environment is used for hours, so a failure is not the last word: later
        invocations try again. Nor is an engine that died: the model is loaded anew.
        """
        served = self._state.loader.served
        if served is not None and served.engine.is_alive:
            return
        if served is not None:
            _log.warning("the engine has died: the model is loaded again")
            self._state.loader.close()
            self._load_again()
        if self._failed_at is not None and time.monotonic() >= self._failed_at + _RETRY_SECONDS:
            self._load_again()
        self._wait(remaining - _ANSWER_SECONDS)

    def _load_again(self) -> None:
        self._failed_at = None
        self._state.loader = ModelLoader(self._state.settings)
        self._state.loader.start()

    def _wait(self, seconds: float) -> None:
        if not self._state.loader.has_ended(max(0.0, seconds)):
            return
        if self._state.loader.error is not None and self._failed_at is None:
            self._failed_at = time.monotonic()
            _log.error("the model could not be loaded: %s", self._state.loader.error)
