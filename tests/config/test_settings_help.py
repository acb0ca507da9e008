"""``--help`` of the settings."""

from __future__ import annotations

import pytest

from functions.cli.__main__ import main
from shared.config.settings import Settings

FLAGS = [
    "--model",
    "--alias",
    "--host",
    "--port",
    "--ctx-size",
    "--parallel",
    "--batch-size",
    "--threads",
    "--n-gpu-layers",
    "--n-predict",
    "--chat-template-file",
    "--api-key",
]


class TestHelp:
    """``--help`` is worth reading."""

    @pytest.fixture
    def text(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
        """The text on a terminal wide enough for its lines."""
        monkeypatch.setenv("COLUMNS", "500")
        with pytest.raises(SystemExit) as caught:
            main(["serve", "--help"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    def test_every_setting_is_an_option_with_an_explanation(self, text: str) -> None:
        for name, field in Settings.model_fields.items():
            assert f"--{name.replace('_', '-')} " in text
            assert field.description
            assert field.description in text

    def test_the_options_have_llama_servers_spelling(self, text: str) -> None:
        for flag in FLAGS:
            assert f"{flag} " in text
        for short in ("-m", "-c", "-np", "-b", "-t", "-ngl", "-n", "-a"):
            assert f" {short} " in text

    def test_it_tells_defaults_variables_and_examples(self, text: str) -> None:
        assert "(default: 8000)" in text
        assert "PILOTLIGHT_CTX_SIZE" in text
        assert "pilotlight.toml" in text
        assert "[models.creative]" in text
        assert "examples:" in text
        assert "hf:Qwen/" in text

    @pytest.mark.parametrize("command", [["chat"], ["completions", "list"]])
    def test_a_clients_key_is_not_explained_as_the_servers(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        command: list[str],
    ) -> None:
        monkeypatch.setenv("COLUMNS", "500")
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        text = capsys.readouterr().out
        assert "--api-key KEY " in text
        assert "that are accepted" not in text
        assert "the server at --url" in text

    @pytest.mark.parametrize("columns", ["0", "1", "20", "x"])
    def test_a_narrow_terminal_is_enough(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
    ) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        for command in (["serve"], ["chat"], ["completions", "export"]):
            with pytest.raises(SystemExit) as caught:
                main([*command, "--help"])
            assert caught.value.code == 0
        assert "--model" in capsys.readouterr().out

    def test_chat_has_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["chat", "--help"])
        text = capsys.readouterr().out
        for flag in ("--config", "--url", "--system", "--model", "--temperature", "--max-tokens"):
            assert flag in text
