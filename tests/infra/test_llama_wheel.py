"""Wheels of llama.cpp for Lambda: the compiler that makes them, and the cache that keeps them."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import directories
import llama_wheel
import pytest
import toolchains
from architectures import ARCHITECTURES, ARM64, X86_64, Architecture
from build_environment import pinned

WHEEL = "llama_cpp_python-0.3.36-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, zig as the compiler."""
    monkeypatch.setenv("LLAMA_WHEEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(toolchains.COMPILER, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def compiled(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled, in place of compiling: the compiler's name for each."""
    made: list[str] = []

    def compile_wheel(
        chosen: toolchains.Toolchain, definitions: dict[str, str], directory: Path
    ) -> Path:
        made.append(chosen.identity)
        wheel = directory / WHEEL
        wheel.touch()
        return wheel

    monkeypatch.setattr(llama_wheel, "_compile", compile_wheel)
    return made


class TestCompiler:
    def test_zig_targets_the_runtimes_glibc(self) -> None:
        assert [toolchains.Zig(each).identity for each in (X86_64, ARM64)] == [
            f"zig {pinned('ziglang')} for x86_64-linux-gnu.2.34, x86_64",
            f"zig {pinned('ziglang')} for aarch64-linux-gnu.2.34, neoverse_n1",
        ]

    @pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
    def test_its_wheels_are_taken_by_the_runtime(self, architecture: Architecture) -> None:
        assert toolchains.Zig(architecture).platform_tag in architecture.wheel_platforms()

    def test_a_name_that_is_none_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(toolchains.COMPILER, "msvc")
        with pytest.raises(SystemExit, match="it can be 'zig' or 'gcc'"):
            toolchains.toolchain(X86_64)

    def test_a_missing_gcc_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(toolchains.COMPILER, "gcc")
        monkeypatch.setenv("PATH", "")
        with pytest.raises(SystemExit, match=r"needs the compiler .*\+\+ .* or zig"):
            toolchains.toolchain(X86_64)


class TestCache:
    def test_a_wheel_is_compiled_once(self, compiled: list[str]) -> None:
        assert llama_wheel.llama_wheel(X86_64) == llama_wheel.llama_wheel(X86_64)
        assert len(compiled) == 1

    def test_each_architecture_has_its_own(self, compiled: list[str]) -> None:
        assert llama_wheel.llama_wheel(X86_64) != llama_wheel.llama_wheel(ARM64)
        assert len(compiled) == 2

    def test_other_versions_compilers_and_flags_are_compiled_anew(
        self, compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = {llama_wheel.llama_wheel(X86_64)}
        with monkeypatch.context() as patch:
            patch.setattr(llama_wheel, "_requirement", lambda: "llama_cpp_python==0.0.0")
            made.add(llama_wheel.llama_wheel(X86_64))
        with monkeypatch.context() as patch:
            patch.setattr(toolchains, "pinned", lambda name: "0.0.0")
            made.add(llama_wheel.llama_wheel(X86_64))
        with monkeypatch.context() as patch:
            patch.setitem(X86_64.flags, "GGML_AVX2", "OFF")
            made.add(llama_wheel.llama_wheel(X86_64))
        include = tmp_path / "other.cmake"
        include.touch()
        with monkeypatch.context() as patch:
            patch.setattr(llama_wheel, "_CMAKE_INCLUDE", include)
            made.add(llama_wheel.llama_wheel(X86_64))
        assert len(made) == len(compiled) == 5

    def test_the_checkouts_place_makes_no_difference(
        self, compiled: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = llama_wheel.llama_wheel(X86_64)
        elsewhere = Path("elsewhere") / toolchains._TOOLCHAIN_FILE.name
        monkeypatch.setattr(toolchains, "_TOOLCHAIN_FILE", elsewhere)
        assert llama_wheel.llama_wheel(X86_64) == first
        assert len(compiled) == 1


class TestDirectories:
    @pytest.mark.parametrize(
        ("platform", "variables", "expected"),
        [
            ("linux", {}, ".cache/pilotlight"),
            ("linux", {"XDG_CACHE_HOME": "HOME/caches"}, "caches/pilotlight"),
            ("darwin", {}, "Library/Caches/pilotlight"),
            ("win32", {"LOCALAPPDATA": "HOME/Local"}, "Local/pilotlight"),
        ],
    )
    def test_the_cache_is_where_the_systems_are(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        platform: str,
        variables: dict[str, str],
        expected: str,
    ) -> None:
        monkeypatch.delenv("LLAMA_WHEEL_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value.replace("HOME", str(tmp_path)))
        monkeypatch.setattr(sys, "platform", platform)
        assert directories.cache_directory() == tmp_path / expected

    def test_a_checkout_that_is_read_only_is_built_elsewhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setattr(directories, "ROOT", tmp_path / "file")  # nothing can be made in it
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert directories.build_directory() == tmp_path / "pilotlight-build"
        monkeypatch.setenv("LLAMA_WHEEL_CACHE", str(tmp_path / "file" / "cache"))
        assert directories.cache_directory() == tmp_path / "pilotlight-build"

    def test_a_temporary_directory_of_somebody_else_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        (tmp_path / "pilotlight-build").mkdir()  # programs in it would be run
        owner = os.getuid()
        monkeypatch.setattr(directories, "ROOT", tmp_path / "file")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
        with pytest.raises(SystemExit, match="can write neither to"):
            directories.build_directory()
