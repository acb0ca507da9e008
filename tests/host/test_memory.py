"""Who limits a process's memory; the files are written as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.host.memory import MemoryLimit, group_limit, host_memory, is_in_memory, lambda_limit

MIB = 2**20
STATUS = f"""\
Name:\tpython3
VmSize:\t 1254884 kB
RssAnon:\t  {100 * 1024} kB
RssFile:\t  {300 * 1024} kB
RssShmem:\t  {50 * 1024} kB
Threads:\t8
"""


def write(directory: Path, **files: str) -> Path:
    """A control group's directory; ``__`` in a name stands for a dot."""
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def test_a_container_may_have_back_what_caches_files(tmp_path: Path) -> None:
    group = write(
        tmp_path,
        memory__max=f"{1000 * MIB}\n",
        memory__current=f"{700 * MIB}\n",
        memory__stat=f"anon {500 * MIB}\ninactive_file {120 * MIB}\nactive_file {30 * MIB}\n",
    )
    assert group_limit(group) == MemoryLimit("this container", 1000 * MIB, 450 * MIB)


def test_old_control_groups_are_understood(tmp_path: Path) -> None:
    old = write(
        tmp_path / "memory",
        memory__limit_in_bytes=f"{1000 * MIB}\n",
        memory__usage_in_bytes=f"{700 * MIB}\n",
        memory__stat="cache 1\n",
    )
    assert group_limit(tmp_path, old) == MemoryLimit("this container", 1000 * MIB, 300 * MIB)


@pytest.mark.parametrize(
    "files", [{}, {"memory__max": "max\n"}, {"memory__max": f"{2**63 - 4096}"}]
)
def test_a_group_without_a_limit_limits_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    assert group_limit(write(tmp_path, **files), tmp_path / "old") is None


def test_a_lambda_function_has_what_its_process_did_not_take() -> None:
    limit = lambda_limit({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}, STATUS)
    assert limit == MemoryLimit("this Lambda function", 1769 * MIB, (1769 - 150) * MIB)


def test_what_will_be_mapped_is_not_free_either() -> None:
    environment = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}
    limit = lambda_limit(environment, STATUS, unmapped=500 * MIB)
    assert limit is not None
    assert limit.free == (1769 - 650) * MIB


def test_elsewhere_lambda_limits_nothing() -> None:
    assert lambda_limit({}, STATUS) is None


def test_the_narrowest_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1")
    assert host_memory() == MemoryLimit("this Lambda function", MIB, 0)


def test_files_in_memory_are_told_from_others(tmp_path: Path) -> None:
    descriptor = os.memfd_create("model")
    try:
        assert is_in_memory(Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
    assert not is_in_memory(Path(__file__))
