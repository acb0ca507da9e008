"""The garbage collector stands still while a function initializes, and only then."""

from __future__ import annotations

import subprocess

import pytest

from tests.aws_lambda.function import PYTHON, TASK_ROOT, environment


@pytest.mark.parametrize("handler", ["api_handler", "inference_handler"])
def test_collections_begin_after_the_initialization(handler: str) -> None:
    code = (
        "import gc\n"
        "begun = []\n"
        "gc.callbacks.append(lambda phase, info: begun.append(phase))\n"
        f"import functions.aws_lambda.{handler}\n"
        "print(len(begun) < 10, gc.isenabled(), gc.get_freeze_count() > 10_000)"
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
