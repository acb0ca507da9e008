"""Memory map of this process: what is where in its address space."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

_MAP = Path("/proc/self/maps")


class Region(NamedTuple):
    """Addresses from ``start`` to before ``end``."""

    start: int
    end: int


class Mapping(NamedTuple):
    """A line of ``/proc/self/maps``. ``device`` and ``inode`` are 0 where no file is mapped."""

    region: Region
    is_writable: bool
    device: int
    inode: int
    name: str
    is_readable: bool = True


def mappings() -> list[Mapping]:
    """All of them, in order of their addresses; none where there is no such file."""
    try:
        text = _MAP.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [_mapping(line) for line in text.splitlines()]


def regions_of(paths: Iterable[Path], found: Sequence[Mapping]) -> list[Region]:
    """Where files are mapped, in the order of the files."""
    stats = [os.stat(path) for path in paths]
    return [
        each.region
        for stat in stats
        for each in found
        if (each.device, each.inode) == (stat.st_dev, stat.st_ino)
    ]


def allocated(before: Sequence[Mapping], after: Sequence[Mapping], at_least: int) -> list[Region]:
    """Regions of ``at_least`` so many bytes that are no file's, and were not there before."""
    found: list[Region] = []
    old = [each.region for each in before if _is_allocation(each)]
    for new in (each.region for each in after if _is_allocation(each)):
        start = new.start
        for known in [each for each in old if each.end > new.start and each.start < new.end]:
            found.append(Region(start, known.start))
            start = known.end
        found.append(Region(start, new.end))
    return [each for each in found if each.end - each.start >= at_least]


def still_readable(regions: Iterable[Region], found: Sequence[Mapping]) -> list[Region]:
    """What is left of ``regions`` where something is mapped, in their order."""
    readable = [each.region for each in found if each.is_readable]
    return [
        Region(max(wanted.start, there.start), min(wanted.end, there.end))
        for wanted in regions
        for there in readable
        if there.end > wanted.start and there.start < wanted.end
    ]


def _is_allocation(mapping: Mapping) -> bool:
    return not mapping.inode and not mapping.name and mapping.is_writable


def _mapping(line: str) -> Mapping:
    addresses, permissions, _, device, inode, *name = line.split(maxsplit=5)
    start, _, end = addresses.partition("-")
    major, _, minor = device.partition(":")
    return Mapping(
        Region(int(start, 16), int(end, 16)),
        "w" in permissions,
        os.makedev(int(major, 16), int(minor, 16)),
        int(inode),
        name[0] if name else "",
        "r" in permissions,
    )
