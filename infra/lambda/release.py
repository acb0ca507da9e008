"""Release artifacts in ``build/release``: wheels, the functions' zip packages, and their checksums.

The same sources make the same files, byte for byte where Python and zlib are the same: archives are
sorted and have no times.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from architectures import ARCHITECTURES, PYTHON_VERSION
from contents import FUNCTIONS
from directories import ROOT
from llama_wheel import REPRODUCIBLE, llama_wheel

RELEASE = ROOT / "build" / "release"
CHECKSUMS = "SHA256SUMS"

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
_FILE, _EXECUTABLE = 0o100644, 0o100755
"""Modes of all files: a package must not depend on its maker's umask."""


def main() -> int:
    """Make all; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--architectures", nargs="+", choices=ARCHITECTURES, default=[*ARCHITECTURES]
    )
    parser.add_argument("--python-version", default=PYTHON_VERSION, help="for tests without that")
    options = parser.parse_args()
    shutil.rmtree(RELEASE, ignore_errors=True)
    RELEASE.mkdir(parents=True)
    _own_wheel()
    for name in options.architectures:
        wheel = llama_wheel(ARCHITECTURES[name])
        shutil.copyfile(wheel, RELEASE / wheel.name)
        for function in FUNCTIONS:
            _package(function, name, options.python_version)
    (RELEASE / CHECKSUMS).write_text("".join(_checksums(RELEASE)), encoding="ascii")
    for path in sorted(RELEASE.iterdir()):
        print(f"{path.stat().st_size / 1e6:7.1f} MB  {path.relative_to(ROOT)}")
    return 0


def _own_wheel() -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command += ["--no-deps", "--wheel-dir", str(RELEASE), str(ROOT)]
    subprocess.run(command, env={**os.environ, **REPRODUCIBLE}, check=True)


def _package(function: str, architecture: str, python_version: str) -> None:
    """Build a function's artifact, as ``sam build`` does, and pack it."""
    artifact = ROOT / "build" / "lambda" / "release" / architecture / function
    shutil.rmtree(artifact, ignore_errors=True)
    script = Path(__file__).with_name("build_function.py")
    command = [sys.executable, str(script), function, "--architecture", architecture]
    command += ["--into", str(artifact), "--python-version", python_version]
    if (status := subprocess.run(command, check=False).returncode) != 0:
        raise SystemExit(status)
    name = f"pilotlight-{_version()}-{function}-{architecture}-python{python_version}.zip"
    pack(artifact, RELEASE / name)


def pack(directory: Path, archive: Path) -> None:
    """Zip a directory, as ``aws lambda update-function-code --zip-file`` takes it."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(each for each in directory.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), _FIRST_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: the next one is a mode
            entry.external_attr = (_EXECUTABLE if os.access(path, os.X_OK) else _FILE) << 16
            file.writestr(entry, path.read_bytes())


def _version() -> str:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version: str = metadata["project"]["version"]
    return version


def _checksums(directory: Path) -> Iterator[str]:
    """Lines as ``sha256sum --check`` reads them."""
    for path in sorted(directory.iterdir()):
        with path.open("rb") as file:
            yield f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


if __name__ == "__main__":
    sys.exit(main())
