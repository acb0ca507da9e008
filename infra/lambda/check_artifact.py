"""Checks that an artifact runs on AWS Lambda: its size, and what its libraries need.

`sam build` runs these checks at its end; by hand: ``check_artifact.py DIRECTORY``. The tools are
the compiler's companions readelf and objdump.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from architectures import ARCHITECTURES, MAX_VERSIONS, X86_64, Architecture
from instructions import foreign_instructions

MAX_BYTES = 250 * 2**20
"""Lambda's limit of a function's code, unpacked, all of its layers included."""
_LAYER_BYTES = 10 * 2**20
"""Room for the layer of the Lambda Web Adapter, and to spare."""

_IN_THE_RUNTIME = re.compile(
    r"(ld-linux-[\w\-]+|lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+|z))\.so\.\d+"
)
"""Libraries of the system that every Python runtime has."""

_ELF = b"\x7fELF"
_OURS = re.compile(r"lib(llama|ggml)[\w\-]*\.so")
"""What is compiled here. Others' libraries choose their instructions when they run."""
_MACHINE = re.compile(r"^\s*Machine:\s+(.+?)\s*$", re.MULTILINE)
_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+?)\]")
_VERSION = re.compile(r"Name: ([A-Z]+)_([\d.]+)\s")


@dataclass(frozen=True, slots=True)
class Report:
    """``findings`` says, line by line, why an artifact does not run; empty if it does."""

    size: int
    n_libraries: int
    findings: list[str]

    def summary(self) -> str:
        """Size and number of libraries in a line."""
        return f"{self.size / 1e6:.1f} MB unpacked, {self.n_libraries} libraries"


def check(artifact: Path, architecture: Architecture) -> Report:
    """Check everything in the directory ``artifact``. Raises `SystemExit` without binutils."""
    files = [path for path in sorted(artifact.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    libraries = [path for path in files if _is_elf(path)]
    names = {path.name for path in libraries}
    findings = []
    if size > MAX_BYTES - _LAYER_BYTES:
        findings.append(
            f"{size / 1e6:.1f} MB unpacked: Lambda takes {MAX_BYTES / 1e6:.1f} MB, layers included"
        )
    for path in libraries:
        where = path.relative_to(artifact)
        findings += [f"{where}: {finding}" for finding in _check(path, names, architecture)]
    return Report(size, len(libraries), findings)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF


def _check(path: Path, names: set[str], architecture: Architecture) -> list[str]:
    """What is wrong with a library; ``names`` are all libraries of the artifact."""
    if shutil.which("readelf") is None:
        raise SystemExit("the checks need readelf and objdump (Debian: apt install binutils)")
    command = ["readelf", "--wide", "--file-header", "--dynamic", "--version-info", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    machine = _MACHINE.search(told)
    if machine is None or machine[1] != architecture.elf:
        return [f"for {machine[1] if machine else 'an unknown machine'}, not {architecture.name}"]
    findings = [
        f"needs {name}, which neither the artifact nor the runtime has"
        for name in _NEEDED.findall(told)
        if name not in names and not _IN_THE_RUNTIME.fullmatch(name)
    ]
    findings += [
        f"needs {kind}_{version}, the runtime has {'.'.join(map(str, MAX_VERSIONS[kind]))}: build "
        "on a system that is not newer than Amazon Linux 2023"
        for kind, version in sorted(set(_VERSION.findall(told)))
        if kind in MAX_VERSIONS and tuple(map(int, version.split("."))) > MAX_VERSIONS[kind]
    ]
    if _OURS.match(path.name):
        findings += foreign_instructions(path, architecture)
    return findings


def main() -> int:
    """Check a directory; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, metavar="DIRECTORY")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=X86_64.name)
    options = parser.parse_args()
    report = check(options.artifact, ARCHITECTURES[options.architecture])
    print(report.summary())
    for finding in report.findings:
        print(finding, file=sys.stderr)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
