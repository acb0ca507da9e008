"""Compilation of llama-cpp-python for Lambda's machines, once for each user, and its cached wheels.

A wheel is kept by what it was made from: llama-cpp-python's version, flags, architecture and
compiler. Other checkouts of the same user take it from the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from architectures import Architecture
from build_environment import build_python
from directories import ROOT, cache_directory, locked
from toolchains import Toolchain, toolchain

CONSTRAINTS = ROOT / "constraints.txt"

_CMAKE_INCLUDE = ROOT / "infra" / "llama.cmake"
_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_SHOWN_LINES = 30
_TAKES = "about 6 minutes of a core"
"""361 s of one core of an Intel Xeon with zig, for either architecture."""
REPRODUCIBLE = {"SOURCE_DATE_EPOCH": "315532800"}
"""Times of a wheel's files: 1980, the first that archives know."""
_OTHERS_FLAGS = ("CMAKE_ARGS", "SKBUILD_CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CC", "CXX")
"""Variables that would add flags which a machine's owner set for other programs."""


def llama_wheel(architecture: Architecture) -> Path:
    """The wheel, compiled if it is not there yet. Raises `SystemExit` with what is missing."""
    chosen = toolchain(architecture)
    made_from = [_requirement(), chosen.identity, architecture.definitions(), asdict(architecture)]
    files = [path.read_text(encoding="utf-8") for path in (_CMAKE_INCLUDE, *chosen.files)]
    digest = hashlib.sha256(json.dumps([made_from, files]).encode()).hexdigest()[:12]
    directory = cache_directory() / "llama" / f"{architecture.name}-{digest}"
    with locked(directory):
        wheels = list(directory.glob("*.whl"))
        if wheels:
            print(f"llama.cpp for {architecture.name} is compiled already: {wheels[0]}", flush=True)
            return wheels[0]
        definitions = architecture.definitions() | chosen.definitions
        definitions["CMAKE_PROJECT_llama.cpp_INCLUDE"] = _CMAKE_INCLUDE.as_posix()
        return _compile(chosen, definitions, directory)


def _requirement() -> str:
    """``llama_cpp_python==VERSION``, as it is pinned."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.lower().startswith("llama_cpp_python=="))


def _compile(chosen: Toolchain, definitions: dict[str, str], directory: Path) -> Path:
    """Compile, showing how far the compiler is; raises `SystemExit` with the log's end."""
    python = build_python(*chosen.requirements)
    print(f"Compiling llama.cpp with {chosen.identity}, once: {_TAKES}", flush=True)
    started = time.monotonic()
    log = directory / "build.log"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        wheels = Path(scratch) / "wheels"
        # pip's cache of wheels knows nothing of flags: it would give us a wheel that was compiled
        # for this machine, and others ours.
        command = [*pip, "--no-cache-dir", "wheel", "--verbose", "--no-deps"]
        command += ["--no-build-isolation", "--no-binary", "llama-cpp-python"]
        command += ["--wheel-dir", str(wheels)]
        command.append("--config-settings=install.strip=false")
        for name, value in definitions.items():
            # Older pips, such as Debian 12's 23.0.1, don't know the short form, -C.
            command.append(f"--config-settings=cmake.define.{name}={value}")
        environment = {k: v for k, v in os.environ.items() if k not in _OTHERS_FLAGS}
        environment |= {"CMAKE_GENERATOR": "Ninja"} | chosen.environment(python) | REPRODUCIBLE
        environment |= dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), scratch)
        with log.open("w", encoding="utf-8", buffering=1) as file:
            status = _run([*command, _requirement()], environment, file)
        if status != 0:
            end = log.read_text(encoding="utf-8").splitlines()[-_SHOWN_LINES:]
            raise SystemExit("\n".join(["compiling llama.cpp failed:", *end, f"all of it: {log}"]))
        (wheel,) = wheels.glob("*.whl")
        wheel = _tagged(wheel, chosen.platform_tag, python)
        print(f"llama.cpp is ready after {time.monotonic() - started:.0f} s", flush=True)
        return wheel.replace(directory / wheel.name)


def _tagged(wheel: Path, platform_tag: str, python: Path) -> Path:
    """The wheel with the platform that it is for: the build backend names this host's."""
    command = [str(python), "-m", "wheel", "tags", "--remove"]
    command += ["--platform-tag", platform_tag, str(wheel)]
    environment = {**os.environ, **REPRODUCIBLE}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return wheel.with_name(done.stdout.splitlines()[-1].strip())


def _run(command: list[str], environment: dict[str, str], log: TextIO) -> int:
    """Run pip into ``log``, and print a line for every tenth of the compiler's steps."""
    shown = 0
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:
        log.write(line)
        if match := _STEP.search(line):
            tenth = 10 * int(match[1]) // int(match[2])
            if tenth > shown:
                print(f"  compiling llama.cpp: {10 * tenth} %", flush=True)
                shown = tenth
    return process.wait()
