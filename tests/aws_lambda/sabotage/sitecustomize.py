"""Breaks the engine of a process that has this directory in ``PYTHONPATH``.

Python imports a module of this name when it starts. As soon as there is a file at
``SABOTAGE_FILE`` the engine's next step fails, in the way that the file says: ``batch``, as when
llama.cpp refuses it, or ``engine``, as by a defect of the engine. Then the file is gone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from shared.engine.evaluator import Evaluator
from shared.engine.llama.errors import LlamaError
from shared.engine.scheduler import Scheduler

if TYPE_CHECKING:
    from shared.engine.batching.plan import Plan
    from shared.engine.mailbox.generation import Delivery

_FILE = Path(os.environ["SABOTAGE_FILE"])
_evaluate = Evaluator.evaluate
_schedule = Scheduler.schedule


def _is_ordered(kind: str) -> bool:
    if not _FILE.exists() or _FILE.read_text(encoding="ascii") != kind:
        return False
    _FILE.unlink()
    return True


def _sabotaged_batch(evaluator: Evaluator, plan: Plan) -> list[Delivery]:
    if _is_ordered("batch"):
        raise LlamaError("injected")
    return _evaluate(evaluator, plan)


def _sabotaged_plan(scheduler: Scheduler, n_prompt: int | None = None) -> Plan:
    # An engine plans once more when its last sequence has ended: that is before the next request.
    if any(scheduler) and _is_ordered("engine"):
        raise RuntimeError("injected")
    return _schedule(scheduler, n_prompt)


Evaluator.evaluate = _sabotaged_batch  # type: ignore[assignment,method-assign]
Scheduler.schedule = _sabotaged_plan  # type: ignore[assignment,method-assign]
