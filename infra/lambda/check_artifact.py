"""Checks that an artifact runs on AWS Lambda: its size, its engine, what its libraries need.

`sam build` runs these checks at its end; by hand, with `pyelftools` and `capstone` installed:
``check_artifact.py DIRECTORY``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from architectures import ARCHITECTURES, MAX_VERSIONS, X86_64, Architecture
from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
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
_ENGINE = frozenset({"libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu.so"})
_VERSION = re.compile(r"([A-Z]+)_([\d.]+)")


@dataclass(frozen=True, slots=True)
class Report:
    """``findings`` says, line by line, why an artifact does not run; empty if it does."""

    size: int
    n_libraries: int
    findings: list[str]

    def summary(self) -> str:
        """Size and number of libraries in a line."""
        return f"{self.size / 1e6:.1f} MB unpacked, {self.n_libraries} libraries"


def check(artifact: Path, architecture: Architecture, *, has_engine: bool = False) -> Report:
    """Check everything in the directory ``artifact``; ``has_engine`` whether llama.cpp must be."""
    files = [path for path in sorted(artifact.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    libraries = [path for path in files if _is_elf(path)]
    names = {path.name for path in libraries}
    findings = []
    if size > MAX_BYTES - _LAYER_BYTES:
        findings.append(
            f"{size / 1e6:.1f} MB unpacked: Lambda takes {MAX_BYTES / 1e6:.1f} MB, layers included"
        )
    if has_engine and (missing := _ENGINE - names):
        findings.append(f"has no engine: {', '.join(sorted(missing))} missing")
    for path in libraries:
        where = path.relative_to(artifact).as_posix()
        findings += [f"{where}: {finding}" for finding in _check(path, names, architecture)]
    return Report(size, len(libraries), findings)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ELF)) == _ELF


def _check(path: Path, names: set[str], architecture: Architecture) -> list[str]:
    """What is wrong with a library; ``names`` are all libraries of the artifact."""
    with path.open("rb") as file:
        try:
            elf = ELFFile(file)
            if elf["e_machine"] != architecture.elf:
                return [f"for {elf['e_machine'].removeprefix('EM_')}, not {architecture.name}"]
            findings = [
                f"needs {name}, which neither the artifact nor the runtime has"
                for name in _needed(elf)
                if name not in names and not _IN_THE_RUNTIME.fullmatch(name)
            ]
            findings += [
                f"needs {kind}_{version}, the runtime has {_dotted(MAX_VERSIONS[kind])}: compile "
                "it with zig, or on a system that is not newer than Amazon Linux 2023"
                for kind, version in sorted(set(_versions(elf)))
                if kind in MAX_VERSIONS and tuple(map(int, version.split("."))) > MAX_VERSIONS[kind]
            ]
            if _OURS.match(path.name):
                findings += foreign_instructions(elf, architecture)
        except ELFError as error:
            return [f"can't be read: {error}"]
    return findings


def _needed(elf: ELFFile) -> Iterator[str]:
    """Names of the libraries that it loads."""
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            yield from (
                tag.needed  # type: ignore[attr-defined]  # set by the tag's name
                for tag in section.iter_tags("DT_NEEDED")
            )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _versions(elf: ELFFile) -> Iterator[tuple[str, str]]:
    """Symbol versions that it needs, as in ``("GLIBC", "2.34")``."""
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                for version in versions:
                    if match := _VERSION.fullmatch(version.name):
                        yield match[1], match[2]


def main() -> int:
    """Check a directory; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path, metavar="DIRECTORY")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=X86_64.name)
    parser.add_argument("--has-engine", action="store_true", help="it fails where llama.cpp is not")
    parser.add_argument("--name", help="what each line begins with")
    options = parser.parse_args()
    architecture = ARCHITECTURES[options.architecture]
    report = check(options.artifact, architecture, has_engine=options.has_engine)
    prefix = f"{options.name}: " if options.name else ""
    print(f"{prefix}{report.summary()}", flush=True)
    for finding in report.findings:
        print(f"{prefix}{finding}", file=sys.stderr)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
