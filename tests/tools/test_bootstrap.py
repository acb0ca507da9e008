"""Installation: what it says of how long compiling takes, and for how many processors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bootstrap
import pytest
from bootstrap import Progress, estimate, processors

_BUILD = "  Running command Building wheel for llama_cpp_python (pyproject.toml)\n"


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the limit of a container on a machine with eight processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def set_limit(*, v2: str | None = None, v1: tuple[str, str] | None = None) -> None:
        contents = {"max": v2, "quota": v1 and v1[0], "period": v1 and v1[1]}
        for name, text in contents.items():
            if text is not None:
                (tmp_path / name).write_text(f"{text}\n", encoding="ascii")
        files = ((tmp_path / "max", None), (tmp_path / "quota", tmp_path / "period"))
        monkeypatch.setattr(bootstrap, "CGROUP_QUOTAS", files)

    return set_limit


class TestProcessors:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, 8),
            ({"v2": "max 100000"}, 8),
            ({"v2": "150000 100000"}, 1.5),
            ({"v2": "1600000 100000"}, 8),
            ({"v2": "not a limit"}, 8),
            ({"v1": ("-1", "100000")}, 8),
            ({"v1": ("400000", "100000")}, 4),
        ],
        ids=str,
    )
    def test_containers_limits_count(
        self, limit: Callable[..., None], given: dict[str, object], expected: float
    ) -> None:
        limit(**given)
        assert processors() == expected

    @pytest.mark.skipif(sys.platform != "linux", reason="affinity is Linux's")
    def test_processors_of_others_do_not_count(
        self, limit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit()
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
        assert processors() == 2


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, "5 to 11 minutes on one core, by how fast it is"),
        (1.5, "3 to 7 minutes on 1.5 cores, by how fast they are"),
        (2, "2 to 5 minutes on 2 cores, by how fast they are"),
        (64, "about a minute on 64 cores"),
    ],
)
def test_the_estimate_is_for_the_cores_that_there_are(cores: float, expected: str) -> None:
    assert estimate(cores) == expected


class TestProgress:
    @pytest.fixture
    def clock(self) -> Iterator[float]:
        """The second that each step ends in, twenty of them with ten seconds each."""
        return iter(range(100, 1000, 10))

    def test_time_to_go_is_that_of_the_steps_so_far(
        self, clock: Iterator[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        progress = Progress(lambda: next(clock))
        progress.see("Collecting llama_cpp_python\n")
        progress.see(_BUILD)
        for step in range(1, 21):
            progress.see(f"  [{step}/20] Building CXX object llama.cpp.o\n")
        lines = capsys.readouterr().out.splitlines()
        assert "compiling llama.cpp" in lines[0]
        assert "on " in lines[0]
        assert lines[2] == "  compiling llama.cpp: step 1 of 20, 0 s"
        assert lines[3] == "  compiling llama.cpp: step 2 of 20, 10 s"
        assert lines[4] == "  compiling llama.cpp: step 4 of 20, 30 s, about 160 s to go"
        assert lines[-1] == "  compiling llama.cpp: step 20 of 20, 190 s"

    def test_nothing_is_said_of_compiling_where_pip_has_the_wheel(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        progress = Progress()
        progress.see("Using cached llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl\n")
        progress.see("Successfully installed llama_cpp_python-0.3.36\n")
        assert capsys.readouterr().out == ""

    def test_steps_that_were_not_seen_are_no_measure(
        self, clock: Iterator[float], capsys: pytest.CaptureFixture[str]
    ) -> None:
        progress = Progress(lambda: next(clock))
        progress.see("[15/20] Building\n")
        assert capsys.readouterr().out == "  compiling llama.cpp: step 15 of 20, 0 s\n"
