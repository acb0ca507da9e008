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
from shared.engine.llama import LlamaError

if TYPE_CHECKING:
    from shared.engine.generation import Delivery
    from shared.engine.scheduler import Plan

_FILE = Path(os.environ["SABOTAGE_FILE"])
_evaluate = Evaluator.evaluate


def _sabotaged(evaluator: Evaluator, plan: Plan) -> list[Delivery]:
    if not _FILE.exists():
        return _evaluate(evaluator, plan)
    kind = _FILE.read_text(encoding="ascii")
    _FILE.unlink()
    raise LlamaError("injected") if kind == "batch" else RuntimeError("injected")


Evaluator.evaluate = _sabotaged  # type: ignore[assignment,method-assign]
