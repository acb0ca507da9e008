"""Compiles llama-cpp-python for Lambda's machines: once for each architecture and set of flags."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

from architectures import Architecture

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "lambda"
CONSTRAINTS = ROOT / "constraints.txt"

_CMAKE_INCLUDE = ROOT / "infra" / "llama.cmake"
_STEP = re.compile(r"\[(\d+)/(\d+)\]")
_SHOWN_LINES = 30
_OTHERS_FLAGS = ("CMAKE_ARGS", "SKBUILD_CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "LDFLAGS")
"""Variables that would add flags which a machine's owner set for other programs."""


def llama_wheel(architecture: Architecture) -> Path:
    """The wheel, compiled if it is not there yet. Raises `SystemExit` with what is missing."""
    definitions = architecture.definitions()
    compiler = _compiler(architecture)
    text = json.dumps([_requirement(), definitions, compiler, _CMAKE_INCLUDE.read_text("utf-8")])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    directory = BUILD / architecture.name / f"llama-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `sam build --parallel` builds functions side by side
        wheels = list(directory.glob("*.whl"))
        return wheels[0] if wheels else _compile(definitions, directory)


def _requirement() -> str:
    """``llama_cpp_python==VERSION``, as it is pinned."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.lower().startswith("llama_cpp_python=="))


def _compiler(architecture: Architecture) -> str:
    """What the compiler says that it is; raises `SystemExit` if there is none."""
    name = f"{architecture.tool_prefix}g++" if architecture.tool_prefix else "c++"
    if shutil.which(name) is None:
        debian = f"g++-{architecture.machine}-linux-gnu" if architecture.tool_prefix else "g++"
        raise SystemExit(
            f"llama.cpp for {architecture.name} needs the compiler {name} (Debian: {debian})"
        )
    command = [name, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0]


def _compile(definitions: dict[str, str], directory: Path) -> Path:
    """Compile, showing how far the compiler is; raises `SystemExit` with the log's end."""
    print("Compiling llama.cpp for Lambda, once: minutes", flush=True)
    started = time.monotonic()
    settings = definitions | {"CMAKE_PROJECT_llama.cpp_INCLUDE": str(_CMAKE_INCLUDE)}
    log = directory / "build.log"
    with tempfile.TemporaryDirectory(dir=directory) as wheels:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        # pip's cache of wheels knows nothing of flags: it would give us a wheel that was compiled
        # for this machine, and others ours.
        command += ["--no-cache-dir", "wheel", "--verbose", "--no-deps"]
        command += ["--no-binary", "llama-cpp-python", "--wheel-dir", wheels]
        command += [f"-Ccmake.define.{name}={value}" for name, value in settings.items()]
        environment = {k: v for k, v in os.environ.items() if k not in _OTHERS_FLAGS}
        with log.open("w", encoding="utf-8") as file:
            status = _run([*command, _requirement()], environment, file)
        if status != 0:
            end = log.read_text(encoding="utf-8").splitlines()[-_SHOWN_LINES:]
            raise SystemExit("\n".join(["compiling llama.cpp failed:", *end, f"all of it: {log}"]))
        (wheel,) = Path(wheels).glob("*.whl")
        print(f"llama.cpp is ready after {time.monotonic() - started:.0f} s", flush=True)
        return wheel.replace(directory / wheel.name)


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
