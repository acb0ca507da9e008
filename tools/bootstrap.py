"""Installation of pilotlight into ``.venv``, from pinned constraints.

Run by the Makefile with whatever Python there is; needs the standard library only. llama.cpp is
compiled when pip has no wheel of it yet, which takes minutes: the progress is shown, and how long
the rest takes on this machine, estimated from what is done.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
BUILD_LOG = VENV / "llama-build.log"
COMPILERS = ("c++", "g++", "clang++")
CMAKE_INCLUDE = ROOT / "infra" / "llama.cmake"
CPU_SECONDS = (290, 650)
"""Compiling, in seconds of one core: 145 s on two of an Intel Xeon with AVX-512, and more than
twice that on two slow ones of an AMD EPYC."""
ESTIMATED_FROM = 0.15
"""Part of the steps from which on the rest is estimated. The first ones are short: taken for all,
they promise a third of the time; from here on the estimate is within 30 % of what it takes."""
CGROUP_QUOTAS = (
    ("/sys/fs/cgroup/cpu.max", None),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Files of a container's CPU limit: of cgroups v2, which has quota and period in one, and of v1."""
WITHOUT = (("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16"), ("-mno-avx512fp16",))
"""Compiler flags that leave out AMX, and AVX-512's 16-bit arithmetic; see `build_environment`."""

_BUILD_BEGINS = "Running command Building wheel for llama_cpp_python"
"""What pip says then, with ``--verbose``."""
_OWN_EXTRAS = re.compile(r"pilotlight\[(.*)\]")
_STEP = re.compile(r"\[\s*(\d+)/(\d+)\]")


def main() -> int:
    """Install; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    options = parser.parse_args()
    if not PYTHON.exists():
        print("Creating .venv", flush=True)
        venv.create(VENV, with_pip=True)
    extras = ("dev",) if options.dev else ()
    with tempfile.TemporaryDirectory(dir=VENV) as wheels:
        if not build_llama(Path(wheels), extras):
            return 1
        target = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
        print("Installing pilotlight" + (" and its test tools" if extras else ""), flush=True)
        found = ("--find-links", wheels, "--constraint", str(CONSTRAINTS))
        return subprocess.run(pip("install", *found, "--editable", target), check=False).returncode


def pip(command: str, *arguments: str) -> list[str]:
    """The command line of pip inside the environment."""
    quiet = () if "--verbose" in arguments else ("--quiet",)
    return [str(PYTHON), "-m", "pip", "--disable-pip-version-check", command, *quiet, *arguments]


def build_llama(wheels: Path, extras: Sequence[str]) -> bool:
    """Make a wheel of llama-cpp-python in the pinned version, showing how far the compiler is.

    All else is installed meanwhile: before the compiler has work for every core, it has for one.
    """
    pinned = next(
        line.strip()
        for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()
        if line.lower().replace("_", "-").startswith("llama-cpp-python==")
    )
    if is_installed(pinned):
        return True
    if find_compiler() is None:
        print("pilotlight needs a C++ compiler, to compile llama.cpp (Debian: apt install g++).")
        return False
    print(f"Installing {pinned}", flush=True)
    others = subprocess.Popen(
        pip("install", "--constraint", str(CONSTRAINTS), *requirements(extras)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # what fails is tried once more, and told then
    )
    try:
        return _is_built(pinned, wheels)
    finally:
        others.wait()


def requirements(extras: Sequence[str]) -> list[str]:
    """What pilotlight needs with ``extras``, without llama-cpp-python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = _OWN_EXTRAS.fullmatch(requirement)
            found += requirements(own[1].split(",")) if own else [requirement]
    return [each for each in dict.fromkeys(found) if not each.startswith("llama-cpp-python")]


def _is_built(pinned: str, wheels: Path) -> bool:
    started = time.monotonic()
    process = subprocess.Popen(
        pip("wheel", "--verbose", "--no-deps", "--wheel-dir", str(wheels), pinned),
        env=build_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    with BUILD_LOG.open("w", encoding="utf-8") as log:
        progress = Progress()
        for line in process.stdout:
            log.write(line)
            progress.see(line)
    if process.wait() != 0:
        print(f"\nThe installation failed; the end of {BUILD_LOG.relative_to(ROOT)}:")
        print("".join(BUILD_LOG.read_text(encoding="utf-8").splitlines(keepends=True)[-30:]))
        return False
    print(f"llama.cpp is ready after {time.monotonic() - started:.0f} s.", flush=True)
    return True


def processors() -> float:
    """Processors that compiling may use: those of this process, within the container's limit."""
    visible = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for quota_file, period_file in CGROUP_QUOTAS:
        with contextlib.suppress(OSError, ValueError):
            quota, *period = Path(quota_file).read_text(encoding="ascii").split()
            if period_file is not None:
                period = [Path(period_file).read_text(encoding="ascii")]
            if (share := float(quota) / float(period[0])) > 0:  # "max" and -1 are no limit
                return min(visible, share)
    return visible


def estimate(cores: float) -> str:
    """How long compiling takes on ``cores`` cores, as a person would say it."""
    fast, slow = (max(1, round(seconds / cores / 60)) for seconds in CPU_SECONDS)
    where = "one core" if cores == 1 else f"{cores:.3g} cores"
    if slow == 1:
        return f"about a minute on {where}"
    speed = "how fast it is" if cores == 1 else "how fast they are"
    return f"{fast} to {slow} minutes on {where}, by {speed}"


def find_compiler() -> str | None:
    """A C++ compiler, as CMake would find it."""
    names = (os.environ.get("CXX", ""), *COMPILERS)
    return next((name for name in names if name and shutil.which(name)), None)


def build_environment() -> dict[str, str]:
    """The environment, with flags that leave out what nothing here loads, and some kernels.

    More than half of the compiling would be llama.cpp's helpers for its own programs and its
    libraries for images and sound. GCC 12 compiles the AMX kernels wrongly, and the program crashes
    on CPUs that have AMX (llama.cpp's issue 20824). Built for AVX-512's 16-bit arithmetic, fused
    attention has no vector code for heads of 64 numbers (docs/engine.md). Compilers that don't know
    these flags, as those for other CPUs, don't get them. The caller's own ``CMAKE_ARGS`` come last
    and win.
    """
    environment = dict(os.environ)
    include = shlex.quote(str(CMAKE_INCLUDE))
    ours = f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={include}"
    environment["CMAKE_ARGS"] = f"{ours} {environment.get('CMAKE_ARGS', '')}".strip()
    for flags in WITHOUT:
        probe = [find_compiler() or "c++", *flags, "-x", "c++", "-fsyntax-only", "-"]
        if subprocess.run(probe, check=False, input=b"", capture_output=True).returncode == 0:
            for name in ("CFLAGS", "CXXFLAGS"):
                environment[name] = " ".join([environment.get(name, ""), *flags]).strip()
    return environment


def is_installed(requirement: str) -> bool:
    """Whether the environment has exactly this ``name==version``."""
    name, _, version = requirement.partition("==")
    code = f"from importlib.metadata import version; assert version({name!r}) == {version!r}"
    command = [str(PYTHON), "-c", code]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


class Progress:
    """Progress bar of ninja's step counts: one line on a terminal, or a few lines in a log.

    Nothing is shown where pip has the wheel. The time counts from ninja's first step: what pip does
    before, such as downloading, says nothing about how fast this machine compiles.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._shown = -1

    def see(self, line: str) -> None:
        """Take a line of the build's output."""
        if line.strip().startswith(_BUILD_BEGINS):
            print(f"  pip has no wheel of it: compiling llama.cpp, {estimate(processors())}.")
            print("  pip keeps the wheel: the next checkout does not compile.", flush=True)
        match = _STEP.search(line)
        if match is None:
            return
        done, total = int(match[1]), int(match[2])
        now = self._clock()
        if self._first is None:
            self._first = (done, now)
        percent = 100 * done // max(total, 1)
        step = 1 if sys.stdout.isatty() else 10
        if percent // step == self._shown:
            return
        self._shown = percent // step
        elapsed = now - self._first[1]
        text = f"  compiling llama.cpp: step {done} of {total}, {elapsed:.0f} s"
        counted = done - self._first[0]
        if counted and ESTIMATED_FROM * total <= done < total:
            rest = elapsed * (total - done) / counted
            text += f", about {rest:.0f} s to go"
        if sys.stdout.isatty():
            print(f"\r{text:<70}", end="\n" if done == total else "", flush=True)
        else:
            print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
