"""The checks of artifacts find what Lambda could not run: proven on libraries made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from runpy import run_path
from unittest.mock import patch

import pytest

from tests.infra.template import ROOT

pytestmark = pytest.mark.usefixtures("processes")

CHECK = ROOT / "infra" / "lambda" / "check_artifact.py"
COMPILER = "cc" if os.uname().machine == "x86_64" else "x86_64-linux-gnu-gcc"
EM_AARCH64 = 183
ENGINE = ("libggml-base.so", "libggml-cpu.so", "libggml.so", "libllama.so")


def compiled(path: Path, code: str, flags: tuple[str, ...] = ()) -> None:
    """Compile C to a library for x86-64; skips the test where there is no compiler for it."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no {COMPILER}")
    command = [COMPILER, "-shared", "-fPIC", *flags, "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=code, text=True, check=True)


def for_arm(path: Path, encoding: str) -> None:
    """Write a library for arm64 with one instruction, as its bytes in hexadecimal."""
    each = ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(encoding))
    compiled(path, f'__asm__(".text; .byte {each}");', ("-nostdlib", "-nostartfiles"))
    library = bytearray(path.read_bytes())
    library[18:20] = EM_AARCH64.to_bytes(2, "little")  # e_machine
    path.write_bytes(library)


def check(artifact: Path, architecture: str = "x86_64", *flags: str) -> tuple[int, str, str]:
    """Exit status, output and findings of the script, which runs in this process.

    A process for each check took 10 s of processor time, most of it to import the disassembler.
    """
    arguments = [str(CHECK), str(artifact), "--architecture", architecture, *flags]
    with (
        patch.object(sys, "argv", arguments),
        patch.object(sys, "path", [str(CHECK.parent), *sys.path]),
        redirect_stdout(StringIO()) as printed,
        redirect_stderr(StringIO()) as findings,
        pytest.raises(SystemExit) as ended,
    ):
        run_path(str(CHECK), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.getvalue(), findings.getvalue()


def instruction(text: str) -> str:
    return f'void f(void) {{ __asm__ volatile("{text}"); }}'


@pytest.mark.parametrize(
    "text",
    [
        "vfmadd231ps %ymm1, %ymm2, %ymm3",
        "vcvtph2ps %xmm1, %ymm2",
        "vpmaddubsw %ymm1, %ymm2, %ymm3",
        "pdep %rax, %rbx, %rcx",
        "vaesenc %xmm1, %xmm2, %xmm3",
    ],
)
def test_the_baseline_passes(tmp_path: Path, text: str) -> None:
    compiled(tmp_path / "libggml-cpu.so", instruction(text))
    status, _, findings = check(tmp_path)
    assert (status, findings) == (0, "")


@pytest.mark.parametrize(
    ("text", "extension"),
    [
        ("vpaddd %zmm1, %zmm2, %zmm3", "AVX-512"),
        ("vpaddd %ymm17, %ymm2, %ymm3", "AVX-512"),
        ("vpternlogd $1, %xmm1, %xmm2, %xmm3", "AVX-512"),  # no register tells it
        ("vpaddd %ymm1, %ymm2, %ymm3 %{%k1%}", "AVX-512"),
        ("tdpbssd %tmm1, %tmm2, %tmm3", "AMX"),
        ("tilezero %tmm1", "AMX"),
        ("%{vex%} vpdpbusd %ymm1, %ymm2, %ymm3", "AVX-VNNI"),
        ("kmovw %eax, %k1", "AVX-512"),
        ("%{vex%} vpmadd52luq %ymm1, %ymm2, %ymm3", "AVX-IFMA"),
        ("vfmaddps %xmm1, %xmm2, %xmm3, %xmm4", "XOP or FMA4"),
        (".byte 0xc4, 0xe2, 0x70, 0xff, 0xd9", "an unknown extension"),
        ("vgf2p8mulb %ymm1, %ymm2, %ymm3", "GFNI"),
        ("vaesenc %ymm1, %ymm2, %ymm3", "VAES"),
    ],
)
def test_more_than_avx2_is_found(tmp_path: Path, text: str, extension: str) -> None:
    compiled(tmp_path / "libggml-cpu.so", instruction(text.replace("%{", "{").replace("%}", "}")))
    status, _, findings = check(tmp_path)
    assert status == 1
    assert f"libggml-cpu.so: has 1 instructions of {extension}, as in" in findings


@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param("2094824e", id="sdot v0.4s, v1.16b, v2.16b"),
        pytest.param("200c424e", id="fmla v0.8h, v1.8h, v2.8h"),
        pytest.param("2058200e", id="cnt v0.8b, v1.8b"),
        pytest.param("ffffffff", id="a constant between functions"),
        pytest.param("e0e3e004", id="cntd x0, of the unwinder"),
        pytest.param("7f4403d5", id="smstop za, of the unwinder"),
    ],
)
def test_the_baseline_of_arm_passes(tmp_path: Path, encoding: str) -> None:
    for_arm(tmp_path / "libggml-cpu.so", encoding)
    status, _, findings = check(tmp_path, "arm64")
    assert (status, findings) == (0, "")


@pytest.mark.parametrize(
    ("encoding", "extension"),
    [
        pytest.param("2000a204", "SVE", id="add z0.s, z1.s, z2.s"),
        pytest.param("e0e31825", "SVE", id="ptrue p0.b"),
        pytest.param("e0e32004", "SVE", id="cntb x0"),
        pytest.param("20a4824e", "I8MM", id="smmla v0.4s, v1.16b, v2.16b"),
        pytest.param("209c824e", "I8MM", id="usdot v0.4s, v1.16b, v2.16b"),
        pytest.param("20fc426e", "BF16", id="bfdot v0.4s, v1.8h, v2.8h"),
        pytest.param("7f4703d5", "SME", id="smstart"),
    ],
)
def test_more_than_graviton2_is_found(tmp_path: Path, encoding: str, extension: str) -> None:
    for_arm(tmp_path / "libggml-cpu.so", encoding)
    status, _, findings = check(tmp_path, "arm64")
    assert status == 1
    assert f"has 1 instructions of {extension}" in findings


@pytest.mark.parametrize("missing", ENGINE)
def test_a_missing_engine_is_found(tmp_path: Path, missing: str) -> None:
    for name in set(ENGINE) - {missing}:
        compiled(tmp_path / name, "int f(void) { return 1; }")
    status, _, findings = check(tmp_path, "x86_64", "--has-engine")
    assert (status, findings) == (1, f"has no engine: {missing} missing\n")
    assert check(tmp_path)[0] == 0  # the function without a model


def test_an_engine_that_is_there_passes(tmp_path: Path) -> None:
    for name in ENGINE:
        compiled(tmp_path / name, "int f(void) { return 1; }")
    assert check(tmp_path, "x86_64", "--has-engine")[0] == 0


def test_a_library_for_another_machine_is_found(tmp_path: Path) -> None:
    compiled(tmp_path / "any.so", "int f(void) { return 1; }")
    finding = "any.so: for X86_64, not arm64\n"
    status, _, findings = check(tmp_path, "arm64")
    assert (status, findings) == (1, finding)

    process = subprocess.run(
        [sys.executable, CHECK, tmp_path, "--architecture", "arm64"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (process.returncode, process.stderr) == (1, finding)


def test_a_library_that_the_runtime_lacks_is_found(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "libother.so.3"
    other.parent.mkdir()
    compiled(other, "int g(void) { return 1; }", flags=("-Wl,-soname,libother.so.3",))
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    flags = ("-Wl,--no-as-needed", f"-Wl,{other}")
    compiled(artifact / "any.so", "int f(void) { return 1; }", flags=flags)
    status, _, findings = check(artifact)
    assert status == 1
    assert "any.so: needs libother.so.3, which neither the artifact nor the runtime has" in findings
    shutil.copy(other, artifact)
    assert check(artifact)[0] == 0


def test_newer_symbols_than_the_runtime_has_are_found(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    versions = elsewhere / "versions"
    versions.write_text("GLIBC_2.2 { g; }; GLIBC_2.99 { h; } GLIBC_2.2;")
    library = elsewhere / "libc.so.6"
    script = f"-Wl,--version-script={versions}"
    flags = ("-nostdlib", script, "-Wl,-soname,libc.so.6")
    compiled(library, "int g(void) { return 1; } int h(void) { return 1; }", flags=flags)
    artifact = tmp_path / "artifact"
    artifact.mkdir()
    flags = ("-nostdlib", "-Wl,--no-as-needed", f"-Wl,{library}")
    compiled(artifact / "any.so", "int h(void); int f(void) { return h(); }", flags=flags)
    status, _, findings = check(artifact)
    assert status == 1
    assert "any.so: needs GLIBC_2.99, the runtime has 2.34" in findings


def test_what_is_too_large_is_found(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(250 * 2**20)
    status, _, findings = check(tmp_path)
    assert status == 1
    assert findings == "262.1 MB unpacked: Lambda takes 262.1 MB, layers included\n"


@pytest.mark.skipif(
    " avx512f" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"),
    reason="llama.cpp was compiled for a CPU without AVX-512",
)
def test_what_is_compiled_for_this_machine_is_refused() -> None:
    package = find_spec("llama_cpp")
    assert package is not None
    assert package.origin is not None
    status, _, findings = check(Path(package.origin).parent / "lib")
    assert status == 1
    assert "libggml-cpu.so: has" in findings
    assert "instructions of AVX-512" in findings
