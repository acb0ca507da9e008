"""What is shipped of the dashboard, and what a start of the function without a model loads of it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from contents import _UNUSED

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "functions" / "dashboard"
FILES = {
    path
    for folder in ("templates", "static")
    for path in (DASHBOARD / folder).rglob("*")
    if path.is_file()
}


def test_wheels_have_templates_and_static_files() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["functions"]
    shipped = {path for pattern in patterns for path in (ROOT / "functions").glob(pattern)}
    assert FILES
    assert shipped >= FILES


def test_functions_on_lambda_keep_them() -> None:
    patterns = [pattern for pattern in _UNUSED if pattern.startswith("**/")]
    assert patterns
    unused = {path for pattern in patterns for path in DASHBOARD.glob(pattern)}
    assert not FILES & unused


def test_the_license_of_what_others_wrote_is_beside_it() -> None:
    license_text = (DASHBOARD / "static" / "htmx.min.js.LICENSE").read_text(encoding="utf-8")
    assert "Zero-Clause BSD" in license_text


@pytest.mark.usefixtures("processes")
def test_a_start_loads_no_page() -> None:
    """Templates, signatures and pages come with the first request for one."""
    code = (
        "import sys; from functions.http.api_app import create_api_app;"
        "from shared.config.settings import Settings; create_api_app(Settings(store='none'));"
        "print([name for name in sys.modules if name.split('.')[0] in ('jinja2', 'itsdangerous')"
        " or name.startswith(('functions.dashboard.pages.', 'functions.dashboard.completions'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['functions.dashboard.pages.playground']"
