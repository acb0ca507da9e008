"""Compilation of llama.cpp for CUDA: a step of the image's build on Modal, and a cache of wheels.

In a function of its own rather than a command of the image: compiling for CUDA takes a quarter of
an hour of all cores that a builder has, and a function says how many it wants. The wheel is kept in
the Volume with the models, so that nothing is compiled again for an image that is built anew for
another reason, such as a new base, or for an app of another name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CORES = 16
MEMORY = 32768
"""MiB; a compiler of CUDA takes more than one GiB."""
TIMEOUT = 3600
"""Seconds."""


def install_llama(requirement: str, cmake_args: str, cuda: str, wheels: str) -> None:
    """Install llama-cpp-python from a wheel in the directory ``wheels``, compiled if need be.

    - ``requirement``: name and version, ``llama-cpp-python==1.2.3``.
    - ``cmake_args``: flags of CMake, the architectures of GPUs among them.
    - ``cuda``: version of CUDA, which nvcc of the image is of.
    """
    parts = [requirement, cmake_args, cuda, sys.version_info[:2]]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    kept = Path(wheels) / f"{requirement.replace('==', '-')}-{digest}"
    found = list(kept.glob("*.whl"))
    if found:
        print(f"llama.cpp was compiled before: {found[0]}", flush=True)
    wheel = found[0] if found else _compile(requirement, cmake_args, kept)
    _pip("install", "--no-deps", str(wheel))


def _compile(requirement: str, cmake_args: str, kept: Path) -> Path:
    """Compile, and put the wheel into the directory ``kept``, whole or not at all."""
    print(
        f"compiling llama.cpp for CUDA on {CORES} cores: minutes, once for a version of it, a "
        "version of CUDA and a kind of GPU",
        flush=True,
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        name = requirement.partition("==")[0]
        flags = {"CMAKE_ARGS": cmake_args, "CMAKE_BUILD_PARALLEL_LEVEL": str(CORES)}
        _pip(
            *("wheel", "--no-deps", "--no-cache-dir", "--no-binary", name),
            *("--wheel-dir", made, requirement),
            **flags,
        )
        (wheel,) = Path(made).glob("*.whl")
        kept.mkdir(parents=True, exist_ok=True)
        part = kept / f"{wheel.name}.part"
        shutil.copyfile(wheel, part)  # a Volume is another file system
        print(f"llama.cpp is ready after {time.monotonic() - started:.0f} s", flush=True)
        return part.replace(kept / wheel.name)


def _pip(*arguments: str, **variables: str) -> None:
    """Run pip; what it prints is in the deployment's output. Raises `CalledProcessError`."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    subprocess.run(command, env={**os.environ, **variables}, check=True)
