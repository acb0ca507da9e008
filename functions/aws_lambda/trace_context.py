"""Which subsegment of a trace is open, for each request on its own.

X-Ray's package keeps that for each thread, and where it runs on Lambda it takes the trace from the
environment. Requests share a thread here, and behind the Lambda Web Adapter the environment knows
no trace. So it is kept with the context of the task, which calls of the store take to their thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from aws_xray_sdk.core.context import Context
from aws_xray_sdk.core.models.dummy_entities import DummySegment

Entity = Any
"""X-Ray's package has no types."""

_open: ContextVar[tuple[Entity, ...]] = ContextVar("open_trace_entities", default=())


class TraceContext(Context):  # type: ignore[misc]
    """The open entities of the current task: a request's segment, and subsegments in order."""

    def put_subsegment(self, subsegment: Entity) -> None:
        """Open ``subsegment`` within the one opened last."""
        self.get_trace_entity().add_subsegment(subsegment)
        _open.set((*_open.get(), subsegment))

    def end_subsegment(self, end_time: float | None = None) -> bool:
        """Close the subsegment opened last; False if there is none. Seconds since 1970."""
        entity = self.get_trace_entity()
        if not self._is_subsegment(entity):
            return False
        entity.close(end_time)
        _open.set(_open.get()[:-1])
        return True

    def get_trace_entity(self) -> Entity:
        """What was opened last; a dummy, of which nothing is sent, outside of sampled requests."""
        entities = _open.get()
        return entities[-1] if entities else DummySegment()

    def set_trace_entity(self, trace_entity: Entity) -> None:
        """Begin with ``trace_entity``."""
        _open.set((trace_entity,))

    def clear_trace_entities(self) -> None:
        """Forget all entities."""
        _open.set(())
