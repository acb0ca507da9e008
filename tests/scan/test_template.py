"""checkov finds nothing in the template but what infra/checkov.yaml gives a reason for."""

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


def scan(template: Path, *options: str) -> dict[str, Any]:
    """What it finds: ``failed_checks`` and others."""
    done = subprocess.run(
        [os.environ["CHECKOV"], "--file", template.name, "--output", "json", *options],
        cwd=template.parent,
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


def test_nothing_is_found_that_has_no_reason(template: Path) -> None:
    found = scan(template, "--config-file", str(CONFIG))
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 30
    failed = found["results"]["failed_checks"]
    assert [(each["check_id"], each["check_name"], each["resource"]) for each in failed] == []


def test_every_reason_is_needed(template: Path) -> None:
    reasons = {
        line.split()[1] for line in CONFIG.read_text("utf-8").splitlines() if "- CKV" in line
    }
    found = scan(template, "--framework", "cloudformation", "--skip-download")
    assert {each["check_id"] for each in found["results"]["failed_checks"]} == reasons
