"""Early fetch of a model: it is taken, or the files are fetched as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.models.errors import ModelSourceError
from shared.models.files import ModelFiles
from shared.models.s3 import early_fetch
from shared.models.sources import model_files

SOURCE = "s3://bucket/model.gguf"


class Fetch:
    """Stands in for `shared.models.s3.source.fetch`: half of the bytes, then, at ``rest``, all."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.rest = Event()
        self.error: Exception | None = None

    def __call__(
        self, source: str, cache: str | None, on_progress: Callable[[float], None]
    ) -> ModelFiles:
        """Fetch."""
        self.asked.append((source, cache))
        on_progress(0.5)
        self.rest.wait()
        if self.error is not None:
            raise self.error
        on_progress(1.0)
        return ModelFiles((Path(source),), is_remote=True)


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """What fetches, now and then early."""
    fetch = Fetch()
    monkeypatch.setattr("shared.models.s3.source.fetch", fetch)
    yield fetch
    fetch.rest.set()
    early_fetch.take("", None, lambda _: None)


def test_what_was_begun_is_taken_once_with_its_progress(fetch: Fetch) -> None:
    early_fetch.begin(SOURCE, "memory").await_transfer()
    told: list[float] = []

    def note(fraction: float) -> None:
        told.append(fraction)
        fetch.rest.set()

    files = model_files(SOURCE, "memory", note)

    assert files.paths == (Path(SOURCE),)
    assert told == [0.5, 1.0]
    assert len(fetch.asked) == 1
    model_files(SOURCE, "memory")
    assert len(fetch.asked) == 2


@pytest.mark.parametrize("asked", [(SOURCE, None), ("s3://bucket/other.gguf", "memory")])
def test_what_the_settings_say_is_fetched(fetch: Fetch, asked: tuple[str, str | None]) -> None:
    early_fetch.begin(SOURCE, "memory").await_transfer()
    fetch.rest.set()

    model_files(*asked)

    assert fetch.asked == [(SOURCE, "memory"), asked]


def test_an_error_is_for_who_takes_the_files(fetch: Fetch) -> None:
    fetch.error = ModelSourceError("there is no such object")
    fetch.rest.set()
    early_fetch.begin(SOURCE, None).await_transfer()

    with pytest.raises(ModelSourceError, match="no such object"):
        model_files(SOURCE, None)
