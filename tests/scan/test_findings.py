"""checkov finds nothing in the template and the Dockerfile but what infra/checkov.yaml gives a reason for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.template import ROOT, read

pytestmark = pytest.mark.usefixtures("processes")

CONFIG = ROOT / "infra" / "checkov.yaml"


def scan(path: Path, framework: str, *options: str) -> dict[str, Any]:
    """What it finds in a file: ``failed_checks`` and others."""
    done = subprocess.run(
        [
            os.environ["CHECKOV"],
            "--file",
            path.name,
            "--framework",
            framework,
            "--output",
            "json",
            *options,
        ],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with its loops expanded, which checkov doesn't know."""
    path = tmp_path_factory.mktemp("template") / "template.json"
    path.write_text(json.dumps(read(), indent=1), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(template: Path) -> dict[str, Path]:
    """What is scanned, by checkov's name for its kind."""
    return {"cloudformation": template, "dockerfile": ROOT / "infra" / "lambda" / "Dockerfile"}


@pytest.mark.parametrize("framework", ["cloudformation", "dockerfile"])
def test_nothing_is_found_that_has_no_reason(files: dict[str, Path], framework: str) -> None:
    found = scan(files[framework], framework, "--config-file", str(CONFIG))
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 30
    failed = found["results"]["failed_checks"]
    assert [(each["check_id"], each["check_name"], each["resource"]) for each in failed] == []


def test_every_reason_is_needed(files: dict[str, Path]) -> None:
    lines = CONFIG.read_text("utf-8").splitlines()
    reasons = {line.split()[1] for line in lines if "- CKV" in line}
    found = [scan(path, framework, "--skip-download") for framework, path in files.items()]
    ids = {each["check_id"] for one in found for each in one["results"]["failed_checks"]}
    assert ids == reasons
