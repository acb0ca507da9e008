"""Garbage collection, paused during an initialization."""

from __future__ import annotations

import gc


def pause_collector() -> None:
    """Collect nothing for now; to be called before all imports that take time.

    Imports make about 100,000 containers, nearly all of which stay. The collector would look
    through them more than 200 times, which takes a sixth of the imports' time, and find some 800.
    """
    gc.disable()


def resume_collector() -> None:
    """Collect again, but don't look at what is there by now; `before_snapshot` still does."""
    gc.freeze()
    gc.enable()
