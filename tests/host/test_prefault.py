"""Memory that is read ahead, and where a model's weights are."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.engine.llama import model as llama_model
from shared.engine.llama import model_fit
from shared.engine.llama.model import Model
from shared.engine.llama.offload import Offload
from shared.host import prefault
from shared.host.memory_map import Mapping, Region, allocated, mappings, regions_of, still_readable
from shared.host.prefault import Prefault
from shared.models.sources import BUILTIN_PATH
from shared.runtime.snapshot import after_restore

MIB = 2**20
_SIZE = 3 * 2**20 + 4096


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Region]:
    """A file that is mapped, of which no page has been touched."""
    path = tmp_path / "weights"
    path.write_bytes(bytes(_SIZE))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        data = np.frombuffer(memory, np.uint8)
        (region,) = regions_of([path], mappings())
        assert region == Region(data.ctypes.data, data.ctypes.data + _SIZE)
        yield region
        del data


def _resident(region: Region) -> int:
    """Bytes of a mapping that this process has touched."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    _, _, mapping = text.partition(f"{region.start:x}-{region.end:x} ")
    found = re.search(r"^Rss: +(\d+) kB", mapping, re.M)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.parametrize("n_threads", [1, 4])
def test_each_page_is_read(mapped: Region, n_threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefault, "_BLOCK", 2**20)
    assert _resident(mapped) == 0
    reading = Prefault([mapped], n_threads)
    reading.start()
    reading.wait()
    assert (_resident(mapped), reading.n_bytes) == (_SIZE, _SIZE)


def test_nothing_is_read_once_it_is_stopped(mapped: Region) -> None:
    reading = Prefault([mapped], 2)
    reading._is_stopped = True
    reading.start()
    reading.stop()
    assert _resident(mapped) == 0


def test_the_weights_of_a_mapped_model_are_those_of_its_file() -> None:
    with closing(Model(BUILTIN_PATH)) as model:
        regions = model.prefault()
        regions.wait()
        assert regions.n_bytes >= model.size
        assert model.prefault() is regions


@pytest.mark.slow
def test_what_others_have_freed_is_not_read() -> None:
    """Other threads allocate while a model is loaded, too; reading what is gone ends the process."""
    freed: list[mmap.mmap] = []

    def on_progress(_: float) -> None:
        if not freed:
            freed.append(mmap.mmap(-1, 8 * 2**20, flags=mmap.MAP_PRIVATE))

    with closing(Model(BUILTIN_PATH, on_progress=on_progress)) as model:
        (memory,) = freed
        memory.close()
        regions = model.prefault()
        regions.wait()
        assert model.size <= regions.n_bytes < model.size + 8 * 2**20


def test_a_region_that_is_gone_is_not_read() -> None:
    nothing = Region(mmap.PAGESIZE, 2 * mmap.PAGESIZE)  # no process has its first pages
    with closing(Model(BUILTIN_PATH)) as model:
        n_bytes = sum(region.end - region.start for region in model._regions)
        model._regions.append(nothing)
        regions = model.prefault()
        regions.wait()
        assert regions.n_bytes == n_bytes


def test_what_is_no_longer_mapped_or_readable_is_left_out() -> None:
    def mapped(start: int, end: int, *, is_readable: bool = True) -> Mapping:
        return Mapping(Region(start, end), True, 0, 0, "", is_readable)

    found = [mapped(100, 200), mapped(200, 300, is_readable=False), mapped(400, 500)]
    wanted = [Region(450, 600), Region(150, 420), Region(300, 400)]
    assert still_readable(wanted, found) == [
        Region(450, 500),
        Region(150, 200),
        Region(400, 420),
    ]


@pytest.mark.parametrize(
    ("buffers", "at_least"),
    [
        ({"CPU_Mapped": 900 * MIB}, None),
        ({"CPU_Mapped": 900 * MIB, "CPU_REPACK": 2 * MIB}, None),
        ({"CPU_Mapped": 900 * MIB, "CPU_REPACK": 191 * MIB}, 190 * MIB),
        ({"CPU": 138 * MIB, "CPU_REPACK": 191 * MIB}, 137 * MIB),
        ({"CUDA0": 900 * MIB, "CPU": 20 * MIB}, 19 * MIB),
    ],
)
def test_copied_weights_are_told_by_their_size(
    monkeypatch: pytest.MonkeyPatch, buffers: dict[str, int], at_least: int | None
) -> None:
    asked: list[int] = []

    def note(*arguments: Any) -> list[Region]:
        asked.append(arguments[2])
        return []

    monkeypatch.setattr(llama_model, "allocated", note)
    Model._allocated_weights(SimpleNamespace(buffers=buffers), [], [])  # type: ignore[arg-type]
    assert asked == ([] if at_least is None else [at_least])


def test_a_closed_models_weights_are_not_read() -> None:
    model = Model(BUILTIN_PATH)
    model.close()
    assert model.prefault().n_bytes == 0


def test_a_models_weights_may_outlive_a_file_in_memory() -> None:
    descriptor = os.memfd_create("model")
    os.write(descriptor, BUILTIN_PATH.read_bytes())
    try:
        model = Model(f"/proc/self/fd/{descriptor}", is_copied=True)
    finally:
        os.close(descriptor)
    with closing(model):
        assert not any("Mapped" in name for name in model.buffers)
        assert not any("/memfd:model" in each.name for each in mappings())
        model.prefault().wait()


@dataclass(eq=False)
class _LoadedModel:
    """In place of a model."""

    is_copied: bool
    buffers: dict[str, int]
    is_closed: bool = False
    handle: None = None

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(
    ("frees_files", "buffers", "loads"),
    [
        (True, {"CPU_Mapped": 9, "CPU_REPACK": 5}, [False, True]),
        (True, {"CPU_Mapped": 9}, [False]),
        (False, {"CPU_Mapped": 9, "CPU_REPACK": 5}, [False]),
    ],
)
def test_files_in_memory_are_not_kept_beside_copies(
    monkeypatch: pytest.MonkeyPatch,
    frees_files: bool,
    buffers: dict[str, int],
    loads: list[bool],
) -> None:
    loaded: list[Any] = []

    def load(*_: Path, is_copied: bool = False, **__: object) -> Any:
        model = _LoadedModel(is_copied, buffers)
        loaded.append(model)
        return model

    monkeypatch.setattr(model_fit, "Model", load)
    model = model_fit.load_model(
        [BUILTIN_PATH], Offload(n_gpu_layers=0), lambda _: None, frees_files=frees_files
    )
    assert [each.is_copied for each in loaded] == loads
    assert [each.is_closed for each in loaded] == [*[True] * (len(loads) - 1), False]
    assert model is loaded[-1]


@pytest.mark.parametrize("has_model", [True, False])
def test_a_restored_copy_reads_its_weights_ahead(has_model: bool) -> None:
    called: list[str] = []
    model = SimpleNamespace(prefault=lambda: called.append("prefault"))
    state: Any = SimpleNamespace(
        models=SimpleNamespace(loaded=lambda: [SimpleNamespace(model=model)] * has_model),
        reset_metrics=lambda: called.append("metrics"),
    )
    after_restore(state)
    assert called == ["prefault", "metrics"] if has_model else ["metrics"]


def test_what_is_still_there_is_what_may_be_read() -> None:
    now = [
        Mapping(Region(100, 200), True, 0, 0, ""),
        Mapping(Region(200, 300), False, 0, 0, "", is_readable=False),
        Mapping(Region(300, 400), False, 7, 3, "/weights"),
    ]
    assert still_readable([Region(150, 350), Region(20, 120), Region(500, 600)], now) == [
        Region(150, 200),
        Region(300, 350),
        Region(100, 120),
    ]


def test_what_was_allocated_is_what_is_new() -> None:
    def memory(start: int, end: int, name: str = "", inode: int = 0) -> Mapping:
        return Mapping(Region(start, end), True, 0, inode, name)

    before = [memory(100, 200), memory(300, 400), memory(900, 950, "[heap]")]
    after = [
        memory(100, 250),  # grown
        memory(260, 500),  # merged with what is before and behind it
        memory(600, 700),
        memory(700, 800, "/a/file", 3),
        memory(900, 990, "[heap]"),
    ]
    assert allocated(before, after, 40) == [
        Region(200, 250),
        Region(260, 300),
        Region(400, 500),
        Region(600, 700),
    ]
