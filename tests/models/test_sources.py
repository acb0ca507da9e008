"""From what the user names to a file on this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.models.names import default_name
from shared.models.sources import BUILTIN_PATH, ModelSourceError, model_files
from tests.models.hub import FILE, REPOSITORY, local_hub
from tests.server import environment

GGUF = b"GGUF\x03\x00\x00\x00 and the rest"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("builtin", "pilotlight-builtin"),
        ("model.gguf", "model"),
        ("/models/qwen2.5-0.5b-instruct-q8_0.gguf", "qwen2.5-0.5b-instruct-q8_0"),
        ("~/my models/a.b.gguf", "a.b"),
        ("my model (v1).gguf", "my-model-v1"),
        ("-模型-.gguf", "model"),
        ("hf:owner/repo:file.gguf", "file"),
        ("hf:owner/repo:sub/file-q4_k_m.gguf", "file-q4_k_m"),
    ],
)
def test_a_model_is_called_by_its_file(source: str, name: str) -> None:
    assert default_name(source) == name


class TestPaths:
    """Files on this machine."""

    def test_builtin_is_the_file_in_the_package(self) -> None:
        assert model_files("builtin").paths[0] == BUILTIN_PATH
        assert BUILTIN_PATH.stat().st_size <= 4 * 2**20

    def test_a_path_is_taken_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "with space.gguf"
        path.write_bytes(GGUF)
        assert model_files(str(path)).paths == (path,)

    def test_the_home_directory_of_nobody_is_told(self) -> None:
        with pytest.raises(
            ModelSourceError, match=r"no such model file: ~nobody-here/a\.gguf: its ~"
        ):
            model_files("~nobody-here/a.gguf")

    def test_the_file_may_be_called_anything(self, tmp_path: Path) -> None:
        path = tmp_path / "model.bin"
        path.write_bytes(GGUF)
        assert model_files(str(path)).paths == (path,)

    def test_a_colon_in_a_path_does_no_harm(self, tmp_path: Path) -> None:
        path = tmp_path / "a:b.gguf"
        path.write_bytes(GGUF)
        assert model_files(str(path)).paths == (path,)

    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "m.gguf").write_bytes(GGUF)
        assert model_files("~/m.gguf").paths[0] == tmp_path / "m.gguf"

    def test_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real.gguf").write_bytes(GGUF)
        (tmp_path / "link.gguf").symlink_to(tmp_path / "real.gguf")
        assert model_files(str(tmp_path / "link.gguf")).paths[0].read_bytes() == GGUF

    @pytest.mark.parametrize("name", ["missing.gguf", "missing/model.gguf"])
    def test_what_is_no_file_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ModelSourceError, match="no such model file"):
            model_files(str(tmp_path / name))

    def test_what_names_nothing_is_refused(self) -> None:
        with pytest.raises(ModelSourceError, match=r"^no such model file: ''$"):
            model_files("")

    @pytest.mark.parametrize("source", [".", "/", "~"])
    def test_a_directory_is_called_one(self, source: str) -> None:
        with pytest.raises(ModelSourceError, match="is a directory: name "):
            model_files(source)

    def test_a_directorys_models_are_named(self, tmp_path: Path) -> None:
        for name in ("b.gguf", "a.gguf", "readme.md"):
            (tmp_path / name).write_bytes(GGUF)
        with pytest.raises(ModelSourceError, match=r"one of its files: a\.gguf, b\.gguf$"):
            model_files(str(tmp_path))

    def test_a_directory_without_models_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ModelSourceError, match=r"there is no \.gguf file in it$"):
            model_files(str(tmp_path))

    @pytest.mark.parametrize("source", ["Qwen/Qwen3-0.6B-GGUF", "owner/repo"])
    def test_a_repositorys_name_leads_to_the_hub(self, source: str) -> None:
        with pytest.raises(ModelSourceError, match=rf"hf:{source}:FILE\.gguf"):
            model_files(source)

    @pytest.mark.parametrize("source", ["models/m.gguf", "/owner/repo", "a/b/c", "../models"])
    def test_other_paths_do_not(self, source: str) -> None:
        with pytest.raises(ModelSourceError) as caught:
            model_files(source)
        assert "hf:" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"GG", b"GGML1234", b"<html>", b"ggufGGUF"])
    def test_what_is_not_gguf_is_refused_with_its_beginning(
        self, tmp_path: Path, content: bytes
    ) -> None:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        with pytest.raises(ModelSourceError, match="not a GGUF file") as caught:
            model_files(str(path))
        assert repr(content[:4]) in str(caught.value)


PRINT_PATHS = """
import sys
from shared.models.sources import ModelSourceError, model_files
try:
    print(*model_files(sys.argv[1]).paths)
except ModelSourceError as error:
    sys.exit(f'refused: {error}')
"""
PRINT_OPEN_FILES = """
import os, sys
from contextlib import suppress
from shared.models.sources import model_files
model_files(sys.argv[1]).close()
for number in os.listdir("/proc/self/fd"):
    with suppress(FileNotFoundError):  # the listing's own
        print(os.readlink(f"/proc/self/fd/{number}"))
"""


class TestHub:
    """``hf:OWNER/REPO:FILE``."""

    @pytest.mark.parametrize(
        "source",
        [
            "hf:",
            "hf:owner",
            "hf:owner/repo",
            "hf:owner/repo:",
            "hf:owner/repo:file.bin",
            "hf:owner:file.gguf",
            "hf:a/b/c:file.gguf",
            "hf:owner/repo:fi le.gguf",
            "hf:owner/repo:file.gguf\n",
            "hf:owner/repo:file.gguf?download=true",
        ],
    )
    def test_a_bad_spelling_is_refused_with_the_right_one(
        self, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(ModelSourceError, match="OWNER/REPO:FILE"):
            model_files(source)

    def test_without_the_hubs_client_the_way_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(ModelSourceError, match=r"huggingface-hub is not installed.*s3://"):
            model_files("hf:owner/repo:file.gguf")

    def run(
        self, endpoint: str, home: Path, source: str, code: str = PRINT_PATHS, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """`model_files` in a process of its own, since the hub's address is read at import."""
        environ |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return subprocess.run(
            [sys.executable, "-c", code, source],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment(environ),
            check=False,
        )

    @pytest.mark.usefixtures("processes")
    def test_a_file_is_downloaded_once(self, tmp_path: Path) -> None:
        with local_hub(GGUF) as (url, requests):
            first = self.run(url, tmp_path, f"hf:{REPOSITORY}:{FILE}")
            second = self.run(url, tmp_path, f"hf:{REPOSITORY}:{FILE}")
        path = Path(first.stdout.strip())
        assert first.returncode == 0, first.stderr
        assert path.read_bytes() == GGUF
        assert path.is_relative_to(tmp_path)
        assert second.stdout == first.stdout
        assert [r for r in requests if r.startswith("GET") and "resolve" in r] == [
            f"GET /{REPOSITORY}/resolve/main/{FILE}"
        ]

    @pytest.mark.usefixtures("processes")
    def test_a_downloaded_file_serves_without_the_hub(self, tmp_path: Path) -> None:
        source = f"hf:{REPOSITORY}:{FILE}"
        with local_hub(GGUF) as (url, _):
            online = self.run(url, tmp_path, source)
        offline = self.run(url, tmp_path, source)
        assert offline.returncode == 0, offline.stderr
        assert offline.stdout == online.stdout

    @pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
    @pytest.mark.usefixtures("processes")
    def test_no_connection_is_left(self, tmp_path: Path) -> None:
        with local_hub(GGUF) as (url, _):
            done = self.run(url, tmp_path, f"hf:{REPOSITORY}:{FILE}", PRINT_OPEN_FILES)
        assert done.returncode == 0, done.stderr
        assert "socket" not in done.stdout

    @pytest.mark.usefixtures("processes")
    def test_a_missing_file_is_said(self, tmp_path: Path) -> None:
        with local_hub(GGUF) as (url, _):
            done = self.run(url, tmp_path, f"hf:{REPOSITORY}:other.gguf")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].strip()
        assert f"refused: can't download hf:{REPOSITORY}:other.gguf" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.usefixtures("processes")
    def test_what_was_never_downloaded_can_not_be_had_offline(self, tmp_path: Path) -> None:
        source = f"hf:{REPOSITORY}:{FILE}"
        done = self.run("http://127.0.0.1:9", tmp_path, source, HF_HUB_OFFLINE="1")
        assert done.returncode == 1
        assert f"refused: can't download {source}" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.usefixtures("processes")
    def test_a_hub_that_can_not_be_reached_is_not_tried_again_and_again(
        self, tmp_path: Path
    ) -> None:
        source = f"hf:{REPOSITORY}:{FILE}"
        done = self.run("http://127.0.0.1:9", tmp_path, source)
        assert done.returncode == 1
        assert f"refused: can't download {source}: http://127.0.0.1:9 can't be" in done.stderr
        assert "Retrying" not in done.stderr

    @pytest.mark.usefixtures("processes")
    def test_what_was_downloaded_must_be_gguf(self, tmp_path: Path) -> None:
        with local_hub(b"<html>") as (url, _):
            done = self.run(url, tmp_path, f"hf:{REPOSITORY}:{FILE}")
        assert done.returncode == 1
        assert "not a GGUF file" in done.stderr
