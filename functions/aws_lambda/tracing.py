"""X-Ray traces through Powertools' Tracer: what a request's time went into, and never any text.

Lambda makes the function's segment; what is sent here are subsegments of it, to the daemon that
Lambda runs beside the function. Nothing of it is imported before a request is sampled, except for
a snapshot, where imports cost nothing. Parts of a generation become subsegments when it has ended,
from the times that the engine has taken: the hot path knows nothing of them.
"""

from __future__ import annotations

import os
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from functions.aws_lambda import invocation

if TYPE_CHECKING:
    from functions.aws_lambda.invocation import Invocation
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState


def is_enabled() -> bool:
    """Whether there is a daemon, and ``POWERTOOLS_TRACE_DISABLED`` does not forbid to use it."""
    is_disabled = os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in ("1", "true", "yes")
    return "AWS_XRAY_DAEMON_ADDRESS" in os.environ and not is_disabled


class Tracing:
    """Sends a subsegment for each sampled request. Observes requests (`RequestObserver`)."""

    def __init__(self, state: ServerState, service: str) -> None:
        self._state = state
        self._service = service
        self._recorder: Any = None  # Powertools calls it the tracer's provider
        if invocation.initialization_type() == "snap-start":
            self._load()

    def begin(self, current: Invocation) -> None:
        """Open the request's subsegment, to which calls of AWS add theirs, if it is sampled."""
        if not current.is_sampled:
            return
        self._load()
        from aws_xray_sdk.core.models.facade_segment import (
            FacadeSegment,
        )
        from aws_xray_sdk.core.models.trace_header import (
            TraceHeader,
        )

        if current.is_cold_start:  # a restored copy may have another daemon than its snapshot
            self._recorder.emitter.set_daemon_address(os.environ["AWS_XRAY_DAEMON_ADDRESS"])
        header = TraceHeader.from_header_str(current.trace)
        segment = FacadeSegment("facade", header.parent, header.root, sampled=True)
        self._recorder.set_trace_entity(segment)
        self._recorder.begin_subsegment("request")

    def __call__(self, request: RequestContext) -> None:
        """Describe the request, and send its subsegments."""
        current = invocation.current()
        if current is None or not current.is_sampled:
            return
        subsegment = self._recorder.current_subsegment()
        subsegment.put_annotation("path", request.path)
        subsegment.put_annotation("status", request.status)
        subsegment.put_annotation("service", self._service)
        subsegment.put_annotation("cold_start", current.is_cold_start)
        self._add_model_load(current)
        facts: dict[str, Any] = {
            "request_id": request.request_id,
            "initialization_type": invocation.initialization_type(),
        }
        if request.model is not None:
            subsegment.put_annotation("model", request.model)
        if request.error is not None:
            subsegment.put_annotation("error_code", request.error.code or request.error.type)
        if generation := request.generation:
            facts["prompt_tokens"] = generation.prompt_tokens
            facts["cached_tokens"] = generation.cached_tokens
            facts["completion_tokens"] = generation.completion_tokens
            self._add("queue", generation.submitted, generation.begun)
            self._add("prefill", generation.begun, generation.first_token)
            self._add("decode", generation.first_token, generation.ended)
        if (started := request.store_started) is not None:
            self._add("store", started, started + request.store_seconds)
        for name, fact in facts.items():
            subsegment.put_metadata(name, fact, self._service)
        if request.status:
            subsegment.apply_status_code(request.status)  # error, throttle or fault
        if request.is_server_error:
            subsegment.add_fault_flag()
        self._recorder.end_subsegment()
        self._recorder.clear_trace_entities()

    def _add_model_load(self, current: Invocation) -> None:
        """Show in the first trace of an environment what its model took, since it was waited for.

        Lambda knows no trace yet while it initializes.
        """
        loaded = self._state.loader.loaded
        is_waited_for = invocation.initialization_type() == "on-demand"
        if current.is_cold_start and is_waited_for and loaded is not None:
            self._add("model load", *loaded)

    def _add(self, name: str, started: float, ended: float) -> None:
        """Add a subsegment for what has been, between two moments of `time.monotonic`."""
        offset = time.time() - time.monotonic()
        self._recorder.begin_subsegment(name).start_time = started + offset
        self._recorder.end_subsegment(ended + offset)

    def _load(self) -> None:
        """Import Powertools' Tracer, and X-Ray's package with it, at the first call."""
        if self._recorder is not None:
            return
        from aws_lambda_powertools import Tracer
        from wrapt import when_imported

        from functions.aws_lambda.trace_context import TraceContext

        tracer = Tracer(service=self._service, auto_patch=False)
        self._recorder = tracer.provider
        self._recorder.configure(context=TraceContext())

        # DynamoDB and S3. Not before somebody uses them: what is patched takes 0.1 s to import, and
        # is complete when this module is.
        @when_imported("boto3.session")
        def patch(_: ModuleType) -> None:
            tracer.patch(["botocore"])
