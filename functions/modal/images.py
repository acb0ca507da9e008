"""What containers are made of. Built by Modal when the app is deployed, and kept until it changes.

Nothing else is uploaded than the files named here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import modal

from functions.modal.deployment import MODELS, Deployment
from functions.modal.llama_build import CORES, MEMORY, TIMEOUT, install_llama

PYTHON = "3.13"
_ROOT = Path(__file__).resolve().parents[2]
_BUILD = "/build"
_CONSTRAINTS = f"{_BUILD}/constraints.txt"
_LLAMA = "llama-cpp-python"
_ENGINE = (_LLAMA, "llguidance", "numpy", "huggingface-hub")
"""What only functions with a model import."""
_NOT_COPIED = ["**/__pycache__", "**/*.pyc"]


def gpu_image(deployment: Deployment, models: modal.Volume) -> modal.Image:
    """llama.cpp for CUDA, compiled once or from an index with wheels; and pilotlight.

    ``models``: the Volume that keeps what was compiled.
    """
    flavor = "runtime" if deployment.cuda_wheels else "devel"
    # Modal puts its own Python into images that come without; their entrypoint would only talk.
    image = modal.Image.from_registry(
        f"nvidia/cuda:{deployment.cuda}-{flavor}-ubuntu24.04", add_python=PYTHON
    ).entrypoint([])
    # llama.cpp's CPU part runs on OpenMP, whose library comes with the compiler.
    image = image.apt_install("libgomp1" if deployment.cuda_wheels else "build-essential")
    image = _with_llama(image, deployment, models)
    return _with_project(image, deployment, without=())


def api_image(deployment: Deployment) -> modal.Image:
    """pilotlight without what only models need."""
    return _with_project(
        modal.Image.debian_slim(python_version=PYTHON), deployment, without=_ENGINE
    )


def _with_llama(image: modal.Image, deployment: Deployment, models: modal.Volume) -> modal.Image:
    # A layer of its own: it takes minutes, and changes with nothing but its version. What it
    # depends on comes with the project's dependencies.
    pinned = [r for r in _requirements(without=()) if _name(r) == _LLAMA]
    if deployment.cuda_wheels:
        return image.uv_pip_install(
            *pinned,
            extra_index_url=deployment.cuda_wheels,
            extra_options=f"--no-deps --only-binary {_LLAMA}",
        )
    include = f"{_BUILD}/llama.cmake"
    image = image.add_local_file(_ROOT / "infra" / "llama.cmake", include, copy=True)
    flags = (
        "-DGGML_CUDA=ON",
        f"-DCMAKE_CUDA_ARCHITECTURES={deployment.architectures}",
        # Containers run on other machines than the one that compiles.
        "-DGGML_NATIVE=OFF",
        # That one has no GPU, so libcuda.so.1, which comes with the driver, is missing there.
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined",
        # Half of the compiling would be for libraries that nothing here loads.
        "-DLLAVA_BUILD=OFF",
        f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={include}",
    )
    return image.run_function(
        install_llama,
        args=(*pinned, " ".join(flags), deployment.cuda, f"{MODELS}/wheels"),
        volumes={MODELS: models},
        cpu=CORES,
        memory=MEMORY,
        timeout=TIMEOUT,
    )


def _with_project(
    image: modal.Image, deployment: Deployment, without: tuple[str, ...]
) -> modal.Image:
    """``image`` with the dependencies in the versions that are tested, and this checkout's code."""
    image = image.add_local_file(_ROOT / "constraints.txt", _CONSTRAINTS, copy=True).uv_pip_install(
        *_requirements(without), extra_options=f"--constraint {_CONSTRAINTS}"
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        image = image.add_local_file(_ROOT / name, f"{_BUILD}/{name}", copy=True)
    for name in ("shared", "functions"):
        image = image.add_local_dir(_ROOT / name, f"{_BUILD}/{name}", copy=True, ignore=_NOT_COPIED)
    # Installed rather than mounted: the version comes from the package's metadata.
    image = image.uv_pip_install(_BUILD, extra_options="--no-deps")
    for local, remote in deployment.files().items():
        image = image.add_local_file(local, remote)
    return image


def _requirements(without: tuple[str, ...]) -> list[str]:
    """The project's dependencies; none in containers, which build no images."""
    if not modal.is_local():
        return []
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [each for each in project["dependencies"] if _name(each) not in without]


def _name(requirement: str) -> str:
    found = re.match(r"[\w.\-]+", requirement)
    assert found is not None
    return found[0]
