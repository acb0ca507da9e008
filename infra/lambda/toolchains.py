"""C++ toolchains that compile llama.cpp for Lambda: zig of the package index, or this host's GCC.

zig brings compiler, linker, C++ library and the C library's symbols of each version, so one recipe
makes both architectures' libraries on any host, with GLIBC_2.34 at most. GCC needs a host with a C
library that is not newer than Lambda's, and a cross compiler for the other architecture.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from architectures import MAX_VERSIONS, Architecture
from build_environment import COMPILING, ZIG, pinned
from directories import ROOT

COMPILER = "LAMBDA_COMPILER"
"""Variable that chooses the toolchain: ``zig`` (default) or ``gcc``."""

_TOOLCHAIN_FILE = ROOT / "infra" / "lambda" / "zig.cmake"


class Toolchain(ABC):
    """A compiler for one architecture."""

    requirements: tuple[str, ...]
    """What it needs of the package index."""
    platform_tag: str
    """Of its wheels: which systems they run on (PEP 600)."""
    identity: str
    """Name and version: another compiler makes another wheel."""
    files: tuple[Path, ...] = ()
    """What CMake reads of this repository."""
    definitions: dict[str, str]
    """CMake's, beside those that all compilers get for the architecture."""

    @abstractmethod
    def environment(self, python: Path) -> dict[str, str]:
        """Variables for CMake, where ``python`` has the requirements installed."""


def toolchain(architecture: Architecture) -> Toolchain:
    """The chosen toolchain. Raises `SystemExit` with what is missing."""
    name = os.environ.get(COMPILER) or "zig"
    if name == "zig":
        return Zig(architecture)
    if name == "gcc":
        return Gcc(architecture)
    raise SystemExit(f"{COMPILER} is {name!r}: it can be 'zig' or 'gcc'")


class Zig(Toolchain):
    """zig as Clang for Linux with the runtime's glibc."""

    requirements = (*COMPILING, *ZIG)
    files = (_TOOLCHAIN_FILE,)

    def __init__(self, architecture: Architecture) -> None:
        glibc = MAX_VERSIONS["GLIBC"]
        target = f"{architecture.machine}-linux-gnu.{'.'.join(map(str, glibc))}"
        self._machine = architecture.machine
        self._options = f"-target {target} -mcpu={architecture.zig_cpu}"
        self.platform_tag = "_".join(["manylinux", *map(str, glibc), architecture.machine])
        self.identity = f"zig {pinned('ziglang')} for {target}, {architecture.zig_cpu}"
        self.definitions = {"CMAKE_TOOLCHAIN_FILE": _TOOLCHAIN_FILE.as_posix()}

    def environment(self, python: Path) -> dict[str, str]:
        code = "import ziglang; print(ziglang.__path__[0])"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        zig = Path(done.stdout.strip()) / ("zig.exe" if os.name == "nt" else "zig")
        return {
            "PILOTLIGHT_ZIG": zig.as_posix(),
            "PILOTLIGHT_ZIG_MACHINE": self._machine,
            "PILOTLIGHT_ZIG_OPTIONS": self._options,
        }


class Gcc(Toolchain):
    """GCC as this host has it, or as Debian's cross compiler."""

    requirements = COMPILING

    def __init__(self, architecture: Architecture) -> None:
        prefix = "" if architecture.is_native else f"{architecture.machine}-linux-gnu-"
        compiler = f"{prefix}g++" if prefix else "c++"
        if shutil.which(compiler) is None:
            debian = f"g++-{architecture.machine}-linux-gnu" if prefix else "g++"
            raise SystemExit(
                f"llama.cpp for {architecture.name} needs the compiler {compiler} (Debian: "
                f"{debian}), or zig: leave {COMPILER} unset"
            )
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
        self.platform_tag = f"linux_{architecture.machine}"
        self.identity = done.stdout.partition("\n")[0]
        self.definitions = dict(architecture.gcc_flags)
        if prefix:
            self.definitions |= {
                "CMAKE_SYSTEM_NAME": "Linux",
                "CMAKE_SYSTEM_PROCESSOR": architecture.machine,
                "CMAKE_C_COMPILER": f"{prefix}gcc",
                "CMAKE_CXX_COMPILER": compiler,
            }

    def environment(self, python: Path) -> dict[str, str]:  # noqa: ARG002
        return {}
