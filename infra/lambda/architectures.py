"""The two architectures of AWS Lambda: what is compiled for them and what their system has."""

from __future__ import annotations

import platform
from dataclasses import dataclass

PYTHON_VERSION = "3.13"
"""The runtime's, as the template names it."""

MAX_VERSIONS = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11, 0)}
"""Symbol versions of the runtime's system, Amazon Linux 2023: glibc 2.34, libraries of GCC 11."""

_COMMON = {
    "CMAKE_BUILD_TYPE": "Release",
    # Without symbol tables: the linker leaves them out, since not every host has a strip.
    "CMAKE_SHARED_LINKER_FLAGS": "-s",
    "GGML_NATIVE": "OFF",
    # The runtime has no libgomp, and llama.cpp's own threads are as fast.
    "GGML_OPENMP": "OFF",
    "LLAVA_BUILD": "OFF",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """``name`` as Lambda spells it, ``machine`` as Linux does, ``elf`` as ELF headers do."""

    name: str
    machine: str
    elf: str
    flags: dict[str, str]
    """CMake's definitions for llama.cpp: the instructions that every machine of Lambda's has."""
    gcc_flags: dict[str, str]
    """Further ones for GCC, of what zig is told by ``zig_cpu``."""
    zig_cpu: str
    """The least CPU, as ``zig cc -mcpu`` calls it: it knows no ``-march=armv8.2-a+...``."""

    @property
    def is_native(self) -> bool:
        """Whether this machine is one."""
        return platform.machine() == self.machine

    def definitions(self) -> dict[str, str]:
        """CMake's definitions for llama-cpp-python."""
        return {**_COMMON, **self.flags}

    def wheel_platforms(self) -> list[str]:
        """The platforms of wheels that run on the runtime's system (PEP 600), the newest first."""
        minors = range(MAX_VERSIONS["GLIBC"][1], 4, -1)
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return [*names, f"manylinux2014_{self.machine}"]


X86_64 = Architecture(
    name="x86_64",
    machine="x86_64",
    elf="EM_X86_64",
    # Lambda promises AVX2, no more: a snapshot or a copy may land on an older machine.
    flags={
        "GGML_AVX": "ON",
        "GGML_AVX2": "ON",
        "GGML_FMA": "ON",
        "GGML_F16C": "ON",
        "GGML_BMI2": "ON",
    },
    gcc_flags={},
    zig_cpu="x86_64",
)
ARM64 = Architecture(
    name="arm64",
    machine="aarch64",
    elf="EM_AARCH64",
    # Graviton2, the oldest that Lambda has: a Neoverse N1.
    flags={},
    gcc_flags={"GGML_CPU_ARM_ARCH": "armv8.2-a+fp16+dotprod"},
    zig_cpu="neoverse_n1",
)
ARCHITECTURES = {architecture.name: architecture for architecture in (X86_64, ARM64)}
