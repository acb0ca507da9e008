"""What `pilotlight serve` and `chat` load at first sight of their command line."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from functions.cli.__main__ import main
from functions.cli.serve_arguments import begin_to_load, model_source
from shared.models.sources import BUILTIN_PATH
from tests.server import environment


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--model", "a.gguf"],
        ["serve", "--model=a.gguf"],
        ["serve", "-m", "a.gguf", "--port", "0"],
        ["serve", "-m", "a.gguf", "-t", "2", "-s", "3", "-np", "4", "--threads-batch", "2"],
        ["serve", "--model", "b.gguf", "--api-key", "secret", "--model", "a.gguf"],
        ["chat", "--model", "a.gguf"],
        ["chat", "What is --url for?", "-m", "a.gguf", "--max-tokens", "3"],
    ],
)
def test_a_path_is_what_is_loaded(arguments: Sequence[str]) -> None:
    assert model_source(arguments, {}) == "a.gguf"


def test_so_is_a_file_on_the_hub() -> None:
    source = "hf:OWNER/REPO:a.gguf"
    assert model_source(["serve", "--model", source], {}) == source


def test_the_environment_names_a_model_too() -> None:
    environment = {"pilotlight_model": "a.gguf"}
    assert model_source(["serve"], environment) == "a.gguf"
    assert model_source(["serve", "-m", "b.gguf"], environment) == "b.gguf"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--version"],
        ["completions", "list", "--model", "a.gguf"],
        ["chat", "--model", "a.gguf", "--url", "http://127.0.0.1:8000"],
        ["chat", "--ur=http://127.0.0.1:8000", "--model", "a.gguf"],
        ["chat", "--model", "a.gguf", "--n-gpu-layers", "3"],
        ["serve"],
        ["serve", "--model"],
        ["serve", "--model", "none"],
        ["serve", "--model", "s3://bucket/a.gguf"],
        ["serve", "--model", "a.gguf", "--n-gpu-layers", "3"],
        ["serve", "--model", "a.gguf", "-ts=3,1"],
        ["serve", "--config", "c.toml", "--model", "a.gguf"],
        ["serve", "--model", "a.gguf", "--log-level", "debug"],
        ["serve", "--model", "a.gguf", "--log-l", "debug"],
        ["serve", "--conf=c.toml", "--model", "a.gguf"],
        ["serve", "--model", "a.gguf", "--help"],
        ["serve", "-h", "--model", "a.gguf"],
        ["serve", "--model", "a.gguf", "-mb.gguf"],
        ["serve", "--model", "a.gguf", "-mg1"],
        ["serve", "--model", "a.gguf", "-ngl3"],
    ],
)
def test_nothing_is_loaded_where_more_has_a_say(arguments: Sequence[str]) -> None:
    assert model_source(arguments, {}) is None


def test_nothing_is_loaded_where_the_environment_has_a_say() -> None:
    assert model_source(["serve", "-m", "a.gguf"], {"Pilotlight_Models": "{}"}) is None


def test_nothing_is_loaded_where_there_is_a_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pilotlight.toml").touch()
    assert begin_to_load(["serve", "-m", "a.gguf"], {}) is None


def test_a_file_that_is_not_there_is_left_to_the_settings(tmp_path: Path) -> None:
    assert begin_to_load(["serve", "-m", f"{tmp_path}/a.gguf"], {}) is None
    assert begin_to_load(["serve", "-m", "~nobody-here/a.gguf"], {}) is None


_LOAD_WITHOUT_END = """
import sys, threading
from functions.cli import __main__
from shared.runtime import early_load

early_load.load_model = lambda *_: threading.Event().wait()
sys.exit(__main__.main())
"""


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("option", "said"), [("--port=x", "--port"), ("--prot=1", "did you mean '--port'")]
)
def test_a_mistake_ends_the_process_whatever_is_being_loaded(option: str, said: str) -> None:
    """As where llama.cpp has a model of many GB read from the disk."""
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_WITHOUT_END, "serve", "-m", str(BUILTIN_PATH), option],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.usefixtures("processes")
def test_chat_loads_the_model_before_it_imports_the_app() -> None:
    code = "import sys, functions.cli.chat.local_server; print('functions.http.app' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_objects_of_a_program_that_calls_it_are_not_frozen() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert gc.get_freeze_count() <= before  # the tests' own, of which some go
    assert gc.isenabled()
