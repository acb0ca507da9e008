"""Builds a function's artifact, as ``sam build`` asks for it; needs no package but pip.

The artifact is for the runtime's Python and system whatever this machine has. What fails a check
of `check_artifact` fails the build.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from architectures import ARCHITECTURES, PYTHON_VERSION, Architecture
from build_environment import CHECKING, build_python
from contents import FUNCTIONS, Function, is_needed_of_llama_cpp, prune, requirements
from directories import ROOT
from llama_wheel import CONSTRAINTS, llama_wheel

_PROJECT = ROOT / "pyproject.toml"
_PACKAGES = ("functions", "shared")
_BUILTIN_MODEL = "*.gguf"


def main() -> int:
    """Build one; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("function", choices=FUNCTIONS)
    parser.add_argument("--architecture", choices=ARCHITECTURES, required=True)
    parser.add_argument("--into", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--python-version", default=PYTHON_VERSION, help="for tests without that")
    options = parser.parse_args()
    function, architecture = FUNCTIONS[options.function], ARCHITECTURES[options.architecture]
    artifact = options.into.resolve()
    print(f"{function.name}: for {architecture.name}", flush=True)
    _install(function, architecture, options.python_version, artifact)
    if function.has_model:
        _unpack(llama_wheel(architecture), artifact)
    _copy_code(function, artifact)
    prune(artifact)
    _compile(artifact, options.python_version)
    return _check(function, architecture, artifact)


def _install(
    function: Function, architecture: Architecture, python_version: str, artifact: Path
) -> None:
    """Install the dependencies in their pinned versions, as wheels for the runtime."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--target", str(artifact), "--upgrade", "--no-compile"]
    command += ["--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", python_version]
    for platform in architecture.wheel_platforms():
        command += ["--platform", platform]
    command += ["--constraint", str(CONSTRAINTS), *requirements(_PROJECT, function)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit("installing the dependencies failed")


def _unpack(wheel: Path, artifact: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = [name for name in file.namelist() if is_needed_of_llama_cpp(name)]
        file.extractall(artifact, names)


def _copy_code(function: Function, artifact: Path) -> None:
    """Copy pilotlight, with the metadata that tells its version."""
    ignored = ["__pycache__"] if function.has_model else ["__pycache__", _BUILTIN_MODEL]
    for package in _PACKAGES:
        shutil.rmtree(artifact / package, ignore_errors=True)
        shutil.copytree(ROOT / package, artifact / package, ignore=shutil.ignore_patterns(*ignored))
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    metadata = artifact / f"{name}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    shutil.copy(ROOT / "LICENSE", metadata / "LICENSE")


def _compile(artifact: Path, version: str) -> None:
    """Compile to bytecode where the runtime's Python is at hand.

    The artifact is read-only in Lambda: what is not compiled now is compiled at every cold start.
    Bytecode is taken unchecked, since the times of files don't survive their packing.
    """
    python = _interpreter(version)
    if python is None:
        print(f"no Python {version} here: not compiled, so cold starts take longer", flush=True)
        return
    command = [python, "-m", "compileall", "-q", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(artifact), "-p", "/var/task"]
    subprocess.run([*command, str(artifact)], check=True, stdout=subprocess.DEVNULL)


def _check(function: Function, architecture: Architecture, artifact: Path) -> int:
    """Check the artifact, with the tools of the build's environment; returns the exit status."""
    script = Path(__file__).with_name("check_artifact.py")
    command = [str(build_python(*CHECKING)), str(script), str(artifact)]
    command += ["--architecture", architecture.name, "--name", function.name]
    if function.has_model:
        command.append("--has-engine")
    return subprocess.run(command, check=False).returncode


def _interpreter(version: str) -> str | None:
    """An interpreter of that version: ``LAMBDA_PYTHON``, this one, or the one on the path."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for name in (os.environ.get("LAMBDA_PYTHON"), sys.executable, f"python{version}"):
        if name and (path := shutil.which(name)):
            done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                return path
    return None


if __name__ == "__main__":
    sys.exit(main())
