"""The cache of the Hugging Face hub's client, as the client itself finds files in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

from shared.models.errors import ModelSourceError
from shared.models.hub_cache import downloaded_before

NAMES = ("a.gguf", "quantized/b-00001-of-00002.gguf", "quantized/b-00002-of-00002.gguf")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one revision of one repository."""
    repository = tmp_path / "hub" / "models--owner--repo"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    for name in NAMES:
        file = repository / "snapshots" / "0123abc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"GGUF")
    return tmp_path / "hub"


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:]])
def test_files_are_where_the_client_finds_them(cache: Path, names: tuple[str, ...]) -> None:
    found = downloaded_before(f"hf:owner/repo:{names[0]}", {"HF_HUB_CACHE": str(cache)})

    expected = [try_to_load_from_cache("owner/repo", name, cache_dir=cache) for name in names]
    assert [str(path) for path in found] == expected


def test_the_environment_says_where_the_cache_is(cache: Path) -> None:
    parent = cache.parent
    (parent / "huggingface").symlink_to(parent)
    for environment in (
        {"HF_HUB_CACHE": str(cache), "HF_HOME": "/nowhere"},
        {"HUGGINGFACE_HUB_CACHE": str(cache)},
        {"HF_HOME": str(parent), "XDG_CACHE_HOME": "/nowhere"},
        {"XDG_CACHE_HOME": str(parent)},
    ):
        assert downloaded_before("hf:owner/repo:a.gguf", environment)


def test_by_default_it_is_in_the_home_directory(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache.parent / ".cache").mkdir()
    (cache.parent / ".cache" / "huggingface").symlink_to(cache.parent)
    monkeypatch.setenv("HOME", str(cache.parent))
    assert downloaded_before("hf:owner/repo:a.gguf", {})


@pytest.mark.parametrize(
    "source", ["hf:owner/repo:b.gguf", "hf:owner/other:a.gguf", "hf:owner:a.gguf", "a.gguf"]
)
def test_what_is_not_there_is_no_file(cache: Path, source: str) -> None:
    assert downloaded_before(source, {"HF_HUB_CACHE": str(cache)}) == ()


def test_a_further_part_is_refused(cache: Path) -> None:
    with pytest.raises(ModelSourceError, match="further part"):
        downloaded_before(f"hf:owner/repo:{NAMES[2]}", {"HF_HUB_CACHE": str(cache)})


def test_a_split_model_without_a_part_is_not_there(cache: Path) -> None:
    (cache / "models--owner--repo" / "snapshots" / "0123abc" / NAMES[2]).unlink()
    assert downloaded_before(f"hf:owner/repo:{NAMES[1]}", {"HF_HUB_CACHE": str(cache)}) == ()
