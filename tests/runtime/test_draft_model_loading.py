"""Draft model of a served model: where it may come from, and the progress of loading both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config.settings import Settings
from shared.models.errors import ModelSourceError
from shared.models.sources import BUILTIN_PATH
from shared.runtime.loader import ModelLoader
from tests.models.s3_server import BUCKET, S3Server, environment

S3_SOURCE = f"s3://{BUCKET}/small/draft.gguf"


class RecordedLoader(ModelLoader):
    """Keeps all progress that it has told."""

    def __init__(self, settings: Settings) -> None:
        self.told: list[float] = []
        super().__init__(settings)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "progress":
            assert isinstance(value, float)
            self.told.append(value)
        super().__setattr__(name, value)


def settings(model: str, draft: str | None, cache: str = "memory") -> Settings:
    return Settings(model=model, model_draft=draft, model_cache=cache, ctx_size=512, parallel=1)


@pytest.fixture
def s3(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A bucket with the built-in model."""
    server = S3Server()
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    server.put("small/draft.gguf", BUILTIN_PATH.read_bytes())
    with server.serving():
        yield server


def files_in_memory() -> list[str]:
    """The files in memory that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # that of the directory itself
            continue
        if target.startswith("/memfd:") and ".gguf" in target:
            found.append(target)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "draft", "milestones"),
    [
        (S3_SOURCE, S3_SOURCE, [0.81, 0.9, 0.99, 1.0]),
        (S3_SOURCE, "builtin", [0.81, 0.981, 1.0]),
        ("builtin", S3_SOURCE, [0.9, 0.99, 1.0]),
        ("builtin", "builtin", [0.9, 1.0]),
        (S3_SOURCE, None, [0.9, 1.0]),
        ("builtin", None, [1.0]),
    ],
)
def test_the_progress_is_of_both_models(
    s3: S3Server, model: str, draft: str | None, milestones: list[float]
) -> None:
    loader = RecordedLoader(settings(model, draft))
    loader.start()
    served = loader.wait()
    drafts = served.engine.draft_types
    loader.close()
    assert drafts == ("none" if draft is None else "draft-simple")
    assert loader.told == sorted(loader.told)
    assert loader.told[-1] == 1.0
    for milestone in milestones:
        assert min(abs(told - milestone) for told in loader.told) < 1e-6
    assert files_in_memory() == []


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["memory", "directory"])
def test_a_draft_model_from_s3_is_kept_as_the_model_is(
    s3: S3Server, tmp_path: Path, cache: str
) -> None:
    where = "memory" if cache == "memory" else str(tmp_path)
    n_gets: list[int] = []
    for _ in range(2):
        loader = ModelLoader(settings("builtin", S3_SOURCE, where))
        loader.start()
        assert loader.wait().engine.draft_types == "draft-simple"
        loader.close()
        n_gets.append(len(s3.gets))
    assert n_gets[0] > 0
    assert n_gets[1] == (2 * n_gets[0] if cache == "memory" else n_gets[0])
    assert len(list(tmp_path.rglob("*.gguf"))) == (cache == "directory")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "content", "cause"),
    [
        ("none.gguf", None, "no such key"),
        ("page.gguf", b"<html>", "not a GGUF file"),
        ("half.gguf", BUILTIN_PATH.read_bytes()[:100_000], ""),
    ],
)
def test_what_is_wrong_with_it_is_said_of_the_draft_model(
    s3: S3Server, key: str, content: bytes | None, cause: str
) -> None:
    if content is not None:
        s3.put(key, content)
    source = f"s3://{BUCKET}/{key}"
    loader = ModelLoader(settings(S3_SOURCE, source))
    loader.start()
    with pytest.raises(ModelSourceError) as caught:
        loader.wait()
    assert str(caught.value).startswith(f"can't use the draft model {source}: ")
    assert cause in str(caught.value)
    assert "/proc/self/fd" not in str(caught.value)
    assert files_in_memory() == []
