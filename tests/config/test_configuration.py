"""The configuration file: where it is found, what wins over it, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.cli.__main__ import main
from shared.config.configuration import load
from shared.config.settings_file import DEFAULT_FILE, ConfigurationError


def write(text: str, path: Path = DEFAULT_FILE) -> Path:
    """A configuration file."""
    path.write_text(text, encoding="utf-8")
    return path


def problems(**flags: str) -> tuple[str, ...]:
    """What is said about a wrong configuration."""
    with pytest.raises(ConfigurationError) as caught:
        load(flags)
    return caught.value.problems


class TestFinding:
    """Which file is read."""

    def test_none_is_needed(self) -> None:
        assert load({}).config is None

    def test_the_one_in_the_working_directory(self) -> None:
        write("ctx_size = 1024")
        assert (load({}).ctx_size, load({}).config) == (1024, DEFAULT_FILE)

    def test_the_flag_wins_over_the_variable_and_that_over_the_working_directory(
        self, monkeypatch: pytest.MonkeyPatch, directory: Path
    ) -> None:
        write("ctx_size = 1")
        by_variable = write("ctx_size = 2", directory / "variable.toml")
        by_flag = write("ctx_size = 3", directory / "flag.toml")
        monkeypatch.setenv("PILOTLIGHT_CONFIG", str(by_variable))
        assert load({}).ctx_size == 2
        assert load({"config": str(by_flag)}).ctx_size == 3
        assert load({"config": str(by_flag)}).config == by_flag

    def test_an_empty_variable_names_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PILOTLIGHT_CONFIG", "")
        assert load({}).config is None
        write("ctx_size = 1024")
        assert load({}).config == DEFAULT_FILE

    def test_the_home_directory_is_known(
        self, monkeypatch: pytest.MonkeyPatch, directory: Path
    ) -> None:
        monkeypatch.setenv("HOME", str(directory))
        write("ctx_size = 1024", directory / "mine.toml")
        assert load({"config": "~/mine.toml"}).ctx_size == 1024


class TestPrecedence:
    """Flags over environment over file over defaults, each setting for itself."""

    def test_each_source_wins_over_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write("port = 1\nparallel = 2\nctx_size = 3\n")
        monkeypatch.setenv("PILOTLIGHT_PORT", "10")
        monkeypatch.setenv("PILOTLIGHT_PARALLEL", "20")
        settings = load({"port": "100"})
        assert (settings.port, settings.parallel, settings.ctx_size) == (100, 20, 3)
        assert settings.max_queue == 256

    def test_a_value_that_loses_may_be_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write("port = 'x'")
        monkeypatch.setenv("PILOTLIGHT_PORT", "10")
        assert load({}).port == 10

    def test_lists_are_replaced_not_joined(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write('alias = ["a", "b"]\napi_key = ["first", "second"]')
        monkeypatch.setenv("PILOTLIGHT_ALIAS", "c")
        settings = load({})
        assert settings.alias == ["c"]
        assert [key.get_secret_value() for key in settings.api_key] == ["first", "second"]

    def test_models_in_the_environment_replace_the_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write('alias = ["a", "b"]\n[models.a]\nn = 2')
        assert load({}).models == {"a": {"n": 2}}
        monkeypatch.setenv("PILOTLIGHT_MODELS", '{"b": {"seed": 1}}')
        assert load({}).models == {"b": {"seed": 1}}
        assert load({"models": "{}"}).models == {}


class TestMistakes:
    """One line each, with file, section and key."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("ctx_size = -1", "ctx_size: Input should be greater than or equal to 0"),
            ("ctx_size = '4k'", "ctx_size: Input should be a valid integer"),
            ("log_level = 'loud'", "log_level: Input should be 'debug', 'info'"),
            ("alias = ['-a']", "alias: '-a' is no model name"),
            ("api_key = [1]", "api_key.0: Input should be a valid string"),
            ("ctx-size = 1", "unknown setting 'ctx-size', did you mean 'ctx_size'?"),
            ("frobnicate = 1", "unknown setting 'frobnicate'"),
            ("[server]\nport = 1", "unknown setting 'server'"),
            ("config = 'x'", "'config' names the file itself"),
            ("Config = 'x'", "'config' names the file itself"),
            ("models = 1", "models: Input should be a valid dictionary"),
            ("[models]\nseed = 1", "models.seed: Input should be a valid dictionary"),
            ("ctx_size =\nport = 1", "not TOML: Invalid value (at line 1"),
            ("port = 1\nport = 2\n", "not TOML: Cannot overwrite a value (at line 2"),
            ("[models.gpt]\nseed = 1", '[models."gpt"]: no model is served under this name'),
            ("[models.pilotlight-builtin]\nport = 1", "[models.\"pilotlight-builtin\"]: 'port'"),
        ],
    )
    def test_are_said_with_file_and_key(self, text: str, expected: str) -> None:
        write(text)
        (problem,) = problems()
        assert problem.startswith(f"pilotlight.toml: {expected}")
        assert "\n" not in problem

    def test_are_said_all_at_once(self) -> None:
        write("port = -1\nprot = 1\nparallel = 0\n")
        assert len(problems()) == 3

    def test_a_file_that_is_named_must_be_there(self, directory: Path) -> None:
        (missing,) = problems(config="missing.toml")
        (is_directory,) = problems(config=str(directory))
        (is_nobodys,) = problems(config="~nobody-here/mine.toml")
        assert missing.startswith("missing.toml: ")
        assert is_directory.startswith(f"{directory}: ")
        assert is_nobodys.startswith("~nobody-here/mine.toml: ")

    def test_a_file_in_another_encoding(self) -> None:
        DEFAULT_FILE.write_bytes("log_level = 'info' # gr\xfc\xdfe".encode("latin-1"))
        assert "not UTF-8" in problems()[0]

    def test_of_flags_and_variables_are_not_the_files(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("port = 80")
        monkeypatch.setenv("PILOTLIGHT_PARALLEL", "x")
        said = problems(port="x", models="[")
        assert [line.partition(": ")[0] for line in said] == [
            "--parallel (PILOTLIGHT_PARALLEL)",
            "--port (PILOTLIGHT_PORT)",
            "--models (PILOTLIGHT_MODELS)",
        ]

    def test_of_request_fields_outside_the_file(self) -> None:
        (problem,) = problems(models='{"pilotlight-builtin": {"temperature": 9}}')
        assert problem.startswith('--models (PILOTLIGHT_MODELS): [models."pilotlight-builtin"]: ')
        assert "'temperature'" in problem

    def test_keys_are_not_shown(self) -> None:
        write("api_key = ['a-secret', 1]\nport = 'x'")
        assert "a-secret" not in "".join(problems())

    def test_end_the_command_with_a_line_each(self, capsys: pytest.CaptureFixture[str]) -> None:
        write("port = -1\n[models.pilotlight-builtin]\ntemperature = 1")
        for command in ("serve", "chat"):
            assert main([command]) == 2
            said = capsys.readouterr()
            assert said.err.startswith("pilotlight: pilotlight.toml: port: ")
            assert len(said.err.splitlines()) == 1
            assert said.out == ""
