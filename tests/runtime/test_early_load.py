"""Early load of a model: it is taken, or dropped and loaded as the settings say."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.config.settings import Settings
from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.model_fit import load_model
from shared.engine.llama.offload import Offload
from shared.models.sources import BUILTIN_PATH, model_files
from shared.runtime import early_load
from shared.runtime.early_load import EarlyLoad
from shared.runtime.model_loading import load_own_model


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def ignore(_: float) -> None:
    """Progress that nobody shows."""


def test_the_model_that_the_settings_name_is_taken_once() -> None:
    begun = early_load.begin(str(BUILTIN_PATH), {})
    assert begun is not None

    settings, files = Settings(model=str(BUILTIN_PATH)), model_files(str(BUILTIN_PATH))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.runtime.model_loading.load_model", None)  # nothing else is loaded
        model = load_own_model(settings, files, ignore)

    assert model.path == BUILTIN_PATH
    model.close()
    assert early_load.take([BUILTIN_PATH], Offload(), ignore) is None


def test_a_model_of_the_hub_is_the_one_that_was_downloaded_before(tmp_path: Path) -> None:
    """The hub may have given the file another revision since."""
    repository = tmp_path / "models--owner--repo"
    for revision in ("old", "new"):
        (repository / "snapshots" / revision).mkdir(parents=True)
        (repository / "snapshots" / revision / "a.gguf").symlink_to(BUILTIN_PATH)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("old")

    assert early_load.begin("hf:owner/repo:a.gguf", {"HF_HUB_CACHE": str(tmp_path)}) is not None
    found = repository / "snapshots" / "new" / "a.gguf"
    model = early_load.take([found], Offload(), ignore)

    assert model is not None
    model.close()


def test_of_a_model_of_the_hub_that_is_not_there_nothing_is_loaded(tmp_path: Path) -> None:
    assert early_load.begin("hf:owner/repo:a.gguf", {"HF_HUB_CACHE": str(tmp_path)}) is None
    assert early_load.begin("hf:a.gguf", {"HF_HUB_CACHE": str(tmp_path)}) is None


def test_with_another_offload_it_is_loaded_again() -> None:
    assert early_load.begin(str(BUILTIN_PATH), {}) is not None

    settings = Settings(model=str(BUILTIN_PATH), main_gpu=0, split_mode="none")
    model = load_own_model(settings, model_files(str(BUILTIN_PATH)), ignore)

    assert model.offload.split_mode == "none"
    model.close()


def test_another_model_is_not_taken_for_it(tmp_path: Path) -> None:
    assert EarlyLoad((BUILTIN_PATH,)).take([tmp_path / "model.gguf"], Offload(), ignore) is None


def test_what_is_wrong_with_it_is_raised_where_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(BUILTIN_PATH.read_bytes()[:100_000])
    begun = EarlyLoad((path,))
    with pytest.raises(ModelLoadError, match=r"can't load .*model\.gguf"):
        begun.take([path], Offload(), ignore)


def test_of_another_model_nobody_hears_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert EarlyLoad((path,)).take([BUILTIN_PATH], Offload(), ignore) is None


def test_progress_is_told_to_who_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    is_taken, fractions = Event(), list[float]()

    def load(*arguments: object) -> object:
        is_taken.wait()
        return load_model(*arguments)  # type: ignore[arg-type]

    def note(fraction: float) -> None:
        fractions.append(fraction)

    monkeypatch.setattr(early_load, "load_model", load)
    begun = EarlyLoad((BUILTIN_PATH,))
    begun._on_progress = note
    is_taken.set()
    model = begun.take([BUILTIN_PATH], Offload(), note)
    assert model is not None
    model.close()
    assert fractions[-1] == 1


def test_a_load_that_is_cancelled_ends_at_its_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    is_cancelled = Event()

    def load(*arguments: object) -> object:
        is_cancelled.wait()
        return load_model(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(early_load, "load_model", load)
    begun = EarlyLoad((BUILTIN_PATH,))
    begun.cancel()
    is_cancelled.set()
    begun._thread.join()
    assert isinstance(begun._error, ModelLoadError)
    assert begun.take([BUILTIN_PATH], Offload(), ignore) is None


@pytest.mark.parametrize("is_taken", [True, False])
def test_what_it_logs_is_shown_once_the_log_is_configured_if_the_model_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, is_taken: bool
) -> None:
    def load(*arguments: object) -> object:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("pilotlight.engine").log(level, "of level %d", level)
        return load_model(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(early_load, "load_model", load)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        begun = EarlyLoad((BUILTIN_PATH,))
        begun._thread.join()
    assert caplog.messages == []

    caplog.set_level(logging.INFO)
    paths = [BUILTIN_PATH] if is_taken else [Path("other.gguf")]
    model = begun.take(paths, Offload(), ignore)

    if model is not None:
        model.close()
    assert caplog.messages == (["of level 20", "of level 30"] if is_taken else [])
    assert logging.getLogger("pilotlight").handlers == []
    assert logging.getLogger("pilotlight").level == logging.NOTSET
