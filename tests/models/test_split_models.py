"""Models in several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.model import Model
from shared.models.files import split_names
from shared.models.names import default_name
from shared.models.s3.source import fetch
from shared.models.sources import BUILTIN_PATH, ModelSourceError, model_files
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.models.variant import write_split


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The built-in model in several files."""
    return write_split(tmp_path_factory.mktemp("split"))


def n_params(*paths: Path) -> int:
    """Of a model, after loading it."""
    model = Model(*paths)
    model.close()
    return model.n_params


def test_the_first_name_tells_all() -> None:
    assert split_names("a-b-00001-of-00003.gguf") == (
        "a-b-00001-of-00003.gguf",
        "a-b-00002-of-00003.gguf",
        "a-b-00003-of-00003.gguf",
    )


@pytest.mark.parametrize("name", ["m.gguf", "m-1-of-2.gguf", "m-00001-of-00002.bin"])
def test_other_names_are_of_one_file(name: str) -> None:
    assert split_names(name) == (name,)


def test_a_further_part_is_refused_with_the_first_ones_name() -> None:
    with pytest.raises(ModelSourceError, match=r"name the first one, m-00001-of-00003\.gguf"):
        split_names("m-00002-of-00003.gguf")


def test_the_model_is_called_without_the_numbers() -> None:
    assert default_name("s3://models/llms/m-00001-of-00003.gguf") == "m"


def test_the_model_is_called_without_the_version() -> None:
    assert default_name("s3://models/llms/m.gguf?versionId=a.b/c:d") == "m"


@pytest.mark.slow
def test_from_a_path(parts: list[Path]) -> None:
    files = model_files(str(parts[0]))
    assert list(files.paths) == parts
    assert len(parts) > 2
    assert n_params(*files.paths) == n_params(BUILTIN_PATH)


def test_a_missing_part_is_named(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / parts[0].name).write_bytes(parts[0].read_bytes())
    with pytest.raises(ModelSourceError, match=f"no such model file: .*{parts[1].name}"):
        model_files(str(tmp_path / parts[0].name))


def test_one_file_of_several_does_not_load(parts: list[Path]) -> None:
    with pytest.raises(ModelLoadError, match="invalid split count"):
        Model(parts[0])


class TestS3:
    """All from one bucket, with neighbouring keys."""

    @pytest.fixture
    def s3(self, stand_ins: None, parts: list[Path], monkeypatch: pytest.MonkeyPatch) -> S3Server:
        server = S3Server()
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        for part in parts:
            server.put(f"llms/{part.name}", part.read_bytes())
        return server

    @pytest.mark.parametrize("place", ["memory", "directory"])
    def test_loads(self, s3: S3Server, parts: list[Path], tmp_path: Path, place: str) -> None:
        seen: list[float] = []
        with s3.serving():
            files = fetch(
                f"s3://{BUCKET}/llms/{parts[0].name}",
                "memory" if place == "memory" else str(tmp_path),
                seen.append,
            )
        assert n_params(*files.paths) == n_params(BUILTIN_PATH)
        assert seen[-1] == 1
        files.close()

    def test_a_missing_part_is_named(self, s3: S3Server, parts: list[Path]) -> None:
        del s3.objects[f"llms/{parts[1].name}"]
        with s3.serving(), pytest.raises(ModelSourceError) as caught:
            fetch(f"s3://{BUCKET}/llms/{parts[0].name}", "memory")
        assert f"key 'llms/{parts[1].name}' of bucket '{BUCKET}' from S3: no such key" in str(
            caught.value
        )
