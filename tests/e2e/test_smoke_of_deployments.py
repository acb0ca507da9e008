"""The smoke test for deployments finds what it should, at a server in a deployment's place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import API_KEY
from tests.server import ServerProcess

SMOKE = Path(__file__).parents[2] / "infra" / "lambda" / "smoke.py"


def smoke(server: ServerProcess, **environ: str) -> subprocess.CompletedProcess[str]:
    """What it says about a server."""
    return subprocess.run(
        [sys.executable, SMOKE, f"{server.url}/v1"],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_server_that_does_all_passes(keyed_server: ServerProcess) -> None:
    done = smoke(keyed_server, OPENAI_API_KEY=API_KEY, REVOKED_API_KEYS="old-key,older-key")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a wrong key is refused") == 2
    assert done.stdout.count("a revoked key is refused") == 4


def test_a_key_that_is_still_accepted_fails(keyed_server: ServerProcess) -> None:
    done = smoke(keyed_server, OPENAI_API_KEY=API_KEY, REVOKED_API_KEYS="another-key")
    assert done.returncode == 1
    assert "accepts a revoked key: status 200" in done.stderr
    assert "another-key" not in done.stdout + done.stderr


def test_a_key_that_is_refused_fails(keyed_server: ServerProcess) -> None:
    done = smoke(keyed_server, OPENAI_API_KEY="wrong")
    assert done.returncode == 1
    assert "status 401" in done.stderr


def test_the_key_is_asked_for(keyed_server: ServerProcess) -> None:
    done = smoke(keyed_server)
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr
