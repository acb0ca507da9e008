"""What the Python peers need, installed once: an environment and one file of an sdist."""

import importlib.util
import os
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks import CACHE_DIRECTORY

LLAMA_CPP_PYTHON = "llama-cpp-python==0.3.36"
"""The version that pilotlight itself pins: all contestants run the same llama.cpp."""

_EXAMPLE_SERVER_REQUIREMENTS = ("openai", "safetensors", "websockets")
"""What ``examples/server/server.py`` needs beyond what the ``server`` extra installs."""

_EXAMPLE_SERVER = "examples/server/server.py"


@dataclass(frozen=True)
class PeerEnvironment:
    """The interpreter that runs the Python peers, and the example server's file."""

    python: Path
    example_server: Path


def ensure_peer_environment() -> PeerEnvironment:
    """Return the peers' environment, creating it on first use.

    Seconds where pip has a built wheel of llama-cpp-python in its cache, else the minutes that
    compiling takes. ``CMAKE_ARGS``, ``CFLAGS`` and ``CXXFLAGS`` reach the compiler as usual.
    Raises ``subprocess.CalledProcessError`` if an installation fails.
    """
    return PeerEnvironment(
        python=_ensure_python(CACHE_DIRECTORY / "peers"),
        example_server=_ensure_example_server(CACHE_DIRECTORY / "sdist"),
    )


def native_library_path() -> str:
    """``LD_LIBRARY_PATH`` that makes the peers compute with pilotlight's own build of ggml.

    Compiler flags differ between builds of the same version (pip may have one in its cache), and
    they decide the speed of everything. The dynamic loader looks here before the directory of
    the peer's own libraries. A path that is already set goes first.
    """
    package = importlib.util.find_spec("llama_cpp")
    paths = [os.environ.get("LD_LIBRARY_PATH", "")]
    if package is not None and package.origin is not None:
        paths.append(str(Path(package.origin).parent / "lib"))
    return os.pathsep.join(path for path in paths if path)


def _ensure_python(directory: Path) -> Path:
    python = directory / "bin" / "python"
    complete = directory / "complete"
    if not complete.exists():
        _say(f"installing {LLAMA_CPP_PYTHON} for the peers (minutes if it must be compiled)")
        venv.create(directory, clear=True, with_pip=True)
        name, version = LLAMA_CPP_PYTHON.split("==")
        _pip(python, "install", f"{name}[server]=={version}", *_EXAMPLE_SERVER_REQUIREMENTS)
        complete.touch()
    return python


def _ensure_example_server(directory: Path) -> Path:
    target = directory / "server.py"
    if not target.exists():
        _say(f"fetching {_EXAMPLE_SERVER} from the source distribution of {LLAMA_CPP_PYTHON}")
        directory.mkdir(parents=True, exist_ok=True)
        source_only = ("--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(directory))
        _pip(Path(sys.executable), "download", *source_only, LLAMA_CPP_PYTHON)
        (archive,) = directory.glob("llama_cpp_python-*.tar.gz")
        with tarfile.open(archive) as source:
            root = source.getnames()[0].split("/")[0]
            member = source.extractfile(f"{root}/{_EXAMPLE_SERVER}")
            assert member is not None
            target.write_bytes(member.read())
        archive.unlink()
    return target


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    # pip's progress goes to our stderr: stdout is for the report alone.
    subprocess.run(command, check=True, stdout=sys.stderr)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
