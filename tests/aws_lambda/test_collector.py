"""The garbage collector stands still while a function initializes, and only then."""

from __future__ import annotations

import gc
import subprocess
import weakref

import pytest

from functions.aws_lambda.collector import pause_collector, resume_collector
from shared.config.settings import Settings
from shared.runtime.snapshot import before_snapshot
from shared.runtime.state import ServerState
from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment

pytestmark = pytest.mark.usefixtures("processes")


@pytest.mark.parametrize("handler", ["api_handler", "inference_handler"])
def test_collections_begin_after_the_initialization(handler: str) -> None:
    # It would collect more than 200 times; what comes before the pause may be compiled first.
    code = (
        "import gc\n"
        "begun = []\n"
        "gc.callbacks.append(lambda phase, info: begun.append(phase))\n"
        f"import functions.aws_lambda.{handler}\n"
        "print(len(begun) < 50, gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )

    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=TASK_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "True True True"


class Cycle:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_what_the_initialization_dropped_is_not_in_a_snapshot() -> None:
    # AWS's clients are such garbage, with their credentials and connections.
    state = ServerState(Settings(store="none"), None)
    pause_collector()
    dropped = weakref.ref(Cycle())
    resume_collector()
    was_kept = dropped() is not None

    before_snapshot(state)
    gc.unfreeze()

    assert was_kept
    assert dropped() is None
