"""Compilation of llama.cpp for Modal, with a pip that only notes what it is to do."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from functions.modal.llama_build import install_llama

_REQUIREMENT = "llama-cpp-python==1.2.3"
_FLAGS = "-DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=89"


class _Pip:
    """Notes its commands, and makes a wheel where it is asked for one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled: list[Mapping[str, str]] = []
        self.installed: list[Path] = []
        self.fails = False
        monkeypatch.setattr(subprocess, "run", self._run)

    def _run(self, command: Sequence[str], *, env: Mapping[str, str], check: bool) -> None:
        assert check
        if "install" in command:
            assert "--no-deps" in command
            self.installed.append(Path(command[-1]))
            return
        assert command[-1] == _REQUIREMENT
        self.compiled.append(env)
        made = Path(command[command.index("--wheel-dir") + 1])
        (made / "llama_cpp_python-1.2.3-py3-none-linux_x86_64.whl").write_bytes(b"wheel")
        if self.fails:
            raise subprocess.CalledProcessError(1, command)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> _Pip:
    """What stands for pip."""
    return _Pip(monkeypatch)


def _install(wheels: Path, *, flags: str = _FLAGS, cuda: str = "12.9.1") -> None:
    install_llama(_REQUIREMENT, flags, cuda, str(wheels))


def test_it_is_compiled_on_all_cores_with_the_flags(pip: _Pip, tmp_path: Path) -> None:
    _install(tmp_path)
    (variables,) = pip.compiled
    assert variables["CMAKE_ARGS"] == _FLAGS
    assert variables["CMAKE_BUILD_PARALLEL_LEVEL"] == "16"
    (wheel,) = pip.installed
    assert wheel.read_bytes() == b"wheel"


def test_it_is_compiled_once(pip: _Pip, tmp_path: Path) -> None:
    _install(tmp_path)
    _install(tmp_path)
    assert len(pip.compiled) == 1
    assert pip.installed[0] == pip.installed[1]


@pytest.mark.parametrize("other", [{"flags": "-DGGML_CUDA=ON"}, {"cuda": "13.0.0"}])
def test_another_gpu_or_version_has_a_wheel_of_its_own(
    pip: _Pip, tmp_path: Path, other: dict[str, str]
) -> None:
    _install(tmp_path)
    _install(tmp_path, **other)
    assert len(pip.compiled) == 2
    assert pip.installed[0] != pip.installed[1]


def test_what_failed_is_not_kept(pip: _Pip, tmp_path: Path) -> None:
    pip.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        _install(tmp_path)
    pip.fails = False
    _install(tmp_path)
    assert len(pip.compiled) == 2
