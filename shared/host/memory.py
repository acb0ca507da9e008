"""Available memory: how much this process can still have, by whoever limits it."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
_OLD_GROUP = _GROUP / "memory"
LAMBDA_SIZE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
"""MiB that a Lambda function has (Lambda's reserved environment variables)."""
_UNLIMITED = 2**60
"""Control groups of the old kind write "no limit" as a number near 2**63."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """``free`` bytes until somebody's limit of ``total`` bytes is reached; ``owner`` names it."""

    owner: str
    total: int
    free: int


def host_memory(unmapped: int = 0) -> MemoryLimit | None:
    """The narrowest limit on this process, None where nothing is known (not on Linux).

    ``unmapped``: bytes in a memfd that this process is about to map.

    What the kernel can take back counts as free: the page cache, mapped model files included, but
    not what lies in a tmpfs or memfd.
    """
    limits = [
        _machine(_text("/proc/meminfo")),
        group_limit(_GROUP),
        _address_space(unmapped),
        lambda_limit(os.environ, _text("/proc/self/status"), unmapped),
    ]
    return min(
        (each for each in limits if each is not None), key=lambda limit: limit.free, default=None
    )


def _machine(meminfo: str) -> MemoryLimit | None:
    sizes = kilobytes(meminfo)
    if "MemTotal" not in sizes or "MemAvailable" not in sizes:
        return None
    return MemoryLimit("this machine", sizes["MemTotal"], sizes["MemAvailable"])


def group_limit(group: Path, old_group: Path = _OLD_GROUP) -> MemoryLimit | None:
    """What the control group at ``group`` may take: a container's limit."""
    total = _number(group / "memory.max") or _number(old_group / "memory.limit_in_bytes")
    if total is None or total > _UNLIMITED:
        return None
    used = _number(group / "memory.current") or _number(old_group / "memory.usage_in_bytes") or 0
    stat = _text(group / "memory.stat") or _text(old_group / "memory.stat")
    sizes = {
        name: int(size)
        for name, _, size in (line.partition(" ") for line in stat.split("\n"))
        if size.isdigit()
    }
    # Pages of files, without those of a tmpfs, which the kernel counts among the anonymous ones.
    cached = sizes.get("inactive_file", 0) + sizes.get("active_file", 0)
    return MemoryLimit("this container", total, max(total - used + cached, 0))


def lambda_limit(
    environment: Mapping[str, str], status: str, unmapped: int = 0
) -> MemoryLimit | None:
    """A Lambda function's memory, less what this process (its ``/proc/self/status``) has taken."""
    size = environment.get(LAMBDA_SIZE, "")
    if not size.isdigit():
        return None
    total = int(size) * 2**20
    sizes = kilobytes(status)
    used = sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0) + unmapped
    return MemoryLimit("this Lambda function", total, max(total - used, 0))


def _address_space(unmapped: int) -> MemoryLimit | None:
    """``ulimit -v``: it counts what is mapped, used or not."""
    total, _ = resource.getrlimit(resource.RLIMIT_AS)
    if total == resource.RLIM_INFINITY:
        return None
    mapped = kilobytes(_text("/proc/self/status")).get("VmSize", 0)
    return MemoryLimit("this process (ulimit -v)", total, max(total - mapped - unmapped, 0))


def is_in_memory(path: Path) -> bool:
    """Whether a file is in memory anyhow: in a tmpfs, or this process's memfd."""
    if path.is_relative_to("/proc/self/fd"):
        return True
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _text("/proc/self/mountinfo").splitlines():
        mount, _, filesystem = line.partition(" - ")
        if mount.split()[2] == number:
            return filesystem.split()[0] in ("tmpfs", "ramfs")
    return False


def kilobytes(text: str) -> dict[str, int]:
    """The sizes in a file of ``/proc``, in bytes, by their names: lines of ``Name:  123 kB``."""
    sizes: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            sizes[name] = int(words[0]) * 1024
    return sizes


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _text(path: str | Path) -> str:
    """What a file of the kernel's says; nothing where there is no such file."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
