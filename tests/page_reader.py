"""Reader of a documentation page: its examples, run one after the other as somebody would."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.server import environment

_ROOT = Path(__file__).parents[1]
_SHELLS_OWN = ("_", "SHLVL", "PWD", "OLDPWD")
"""Variables that every shell sets for itself."""


class Reader:
    """Somebody who tries a page's examples, one after the other, in a directory of their own.

    What a shell example exports is there in those behind it, and so are the names of Python's.
    """

    def __init__(self, directory: Path, store: Path, programs: Path) -> None:
        """``store`` is the data directory of the commands that they run, which are in ``programs``."""
        self.directory = directory / "reader"
        self.directory.mkdir()
        self.names: dict[str, Any] = {}
        """What Python examples have named."""
        self._exported: dict[str, str] = {}
        self._variables = directory / "variables"
        self._environment = environment(
            {
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(_ROOT),
                "PILOTLIGHT_DATA_DIR": str(store),
            }
        )

    def run(self, language: str, code: str) -> str:
        """What an example prints, on standard error too."""
        return self._run_python(code) if language == "python" else self._run_shell(code)

    def variable(self, name: str) -> str:
        """What a shell example has exported."""
        return self._exported[name]

    def _run_python(self, code: str) -> str:
        printed = io.StringIO()
        with redirect_stdout(printed), patch.dict(os.environ, self._exported):
            exec(code, self.names)
        return printed.getvalue()

    def _run_shell(self, code: str) -> str:
        noting = f"trap 'env -0 > {shlex.quote(str(self._variables))}' EXIT\n"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", noting + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            cwd=self.directory,
            env=self._environment | self._exported,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        for line in self._variables.read_text(encoding="utf-8").split("\0"):
            name, _, value = line.partition("=")
            if name and name not in _SHELLS_OWN and self._environment.get(name) != value:
                self._exported[name] = value
        return done.stdout
