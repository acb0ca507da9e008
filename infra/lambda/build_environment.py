"""Virtual environment with the build's tools, pinned and from the package index, on any host."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from directories import ROOT, build_directory, locked

CHECKING = ("capstone", "pyelftools")
"""What disassembles libraries and reads their headers."""
COMPILING = ("cmake", "ninja", "scikit-build-core", "wheel")
ZIG = ("ziglang",)

_CONSTRAINTS = ROOT / "infra" / "lambda" / "build-constraints.txt"


def build_python(*requirements: str) -> Path:
    """The environment's interpreter, with ``requirements`` installed if they are not yet.

    Raises `SystemExit` where they can't be.
    """
    directory = build_directory() / f"tools-{sys.version_info.major}.{sys.version_info.minor}"
    windows = sys.platform == "win32"
    python = directory / ("Scripts/python.exe" if windows else "bin/python")
    text = "\n".join([*sorted(requirements), _CONSTRAINTS.read_text(encoding="utf-8")])
    installed = directory / f"installed-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    with locked(build_directory()):
        if not python.exists():
            _create(directory)
        if not installed.exists():
            print(f"Installing {', '.join(requirements)} for the build", flush=True)
            command = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
            command += ["--quiet", "--only-binary", ":all:"]
            command += ["--constraint", str(_CONSTRAINTS), *requirements]
            if subprocess.run(command, check=False).returncode != 0:
                raise SystemExit("installing the build's tools failed")
            installed.touch()
    return python


def pinned(name: str) -> str:
    """The version of ``name`` that is installed."""
    lines = _CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(f"{name}==") for line in lines if line.startswith(f"{name}=="))


def _create(directory: Path) -> None:
    try:
        venv.create(directory, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, ImportError, OSError) as error:
        raise SystemExit(
            "the build can't create a virtual environment (Debian: apt install python3-venv): "
            f"{error}"
        ) from error
