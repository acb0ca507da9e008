"""Settings: flags, environment, defaults, and what is said about bad values.

The configuration file has tests of its own, in ``test_configuration.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from functions.cli.__main__ import main
from shared.config.configuration import load
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError

_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY="


def _is_number(field: FieldInfo) -> bool:
    """Whether a setting has numbers with decimals."""
    return "float" in str(field.annotation)


def keys(settings: Settings) -> list[str]:
    """The API keys in plain text."""
    return [key.get_secret_value() for key in settings.api_key]


class TestValues:
    """Where values come from."""

    def test_the_defaults_serve_the_builtin_model_on_loopback(self) -> None:
        settings = Settings()
        assert (settings.model, settings.host, settings.port) == ("builtin", ["127.0.0.1"], 8000)
        assert settings.is_loopback
        assert settings.api_key == []

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("MODEL", "hf:a/b:c.gguf", "hf:a/b:c.gguf"),
            ("PORT", "0", 0),
            ("CTX_SIZE", "2048", 2048),
            ("N_GPU_LAYERS", "-1", -1),
            ("GRACE_PERIOD", "2.5", 2.5),
            ("ALIAS", "a, b,,c", ["a", "b", "c"]),
            ("CHAT_TEMPLATE_FILE", "/tmp/t.jinja", Path("/tmp/t.jinja")),
            ("LOG_LEVEL", "debug", "debug"),
        ],
    )
    def test_every_setting_is_an_environment_variable(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: object
    ) -> None:
        monkeypatch.setenv(f"PILOTLIGHT_{name}", value)
        assert getattr(Settings(), name.lower()) == expected

    @pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e300"])
    @pytest.mark.parametrize(
        "name", [name for name, field in Settings.model_fields.items() if _is_number(field)]
    )
    def test_numbers_are_within_limits(self, name: str, value: str) -> None:
        """None makes sense without: timers and llama.cpp's numbers have theirs."""
        with pytest.raises(ConfigurationError) as refused:
            load({name: value})
        assert refused.value.problems[0].startswith(f"--{name.replace('_', '-')} ")

    @pytest.mark.parametrize("name", ["retention_days", "tenant_retention_days"])
    def test_what_is_stored_is_kept_for_a_hundred_years_at_most(self, name: str) -> None:
        days = "36501" if name == "retention_days" else '{"a": 36501}'
        with pytest.raises(ConfigurationError, match="36500"):
            load({name: days})

    def test_hashes_of_keys_are_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert not Settings().needs_key
        assert Settings(api_key=[SecretStr("key")]).needs_key
        monkeypatch.setenv("PILOTLIGHT_API_KEY_HASH", f"{'0' * 64}, {'AB' * 32}")
        assert Settings().api_key_hash == ["0" * 64, "ab" * 32]
        assert Settings().needs_key

    @pytest.mark.parametrize("value", ["a-key", "0" * 63, "0" * 65, "g" * 64])
    def test_what_is_no_hash_is_refused_and_not_shown(self, value: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Settings(api_key_hash=["0" * 64, value])
        message = caught.value.errors()[0]["msg"]
        assert "number 2 is no SHA-256 hash, which has 64 hexadecimal digits" in message
        assert value not in message

    @pytest.mark.parametrize(
        "url",
        [
            "https://example.com/alerts?token=s3cret",
            "http://127.0.0.1:8001/alerts",
            "http://[::1]:8001/alerts",
            "",
        ],
    )
    def test_webhooks_go_to_https_or_this_machine(self, url: str) -> None:
        assert Settings(webhook_url=url, webhook_secret=[SecretStr(_SECRET)]).webhook_url == url

    @pytest.mark.parametrize(
        ("arn", "is_one"),
        [
            ("", True),
            ("arn:aws:sns:eu-west-1:123456789012:alerts", True),
            ("arn:aws-cn:sns:cn-north-1:123456789012:alerts.fifo", True),
            ("arn:aws:sqs:eu-west-1:123456789012:alerts", False),
            ("alerts", False),
        ],
    )
    def test_alerts_go_to_a_topic(self, arn: str, is_one: bool) -> None:
        if is_one:
            assert Settings(alert_topic=arn).alert_topic == arn
        else:
            with pytest.raises(ValidationError):
                Settings(alert_topic=arn)

    @pytest.mark.parametrize(
        ("url", "secret", "reason"),
        [
            ("http://example.com/s3cret", _SECRET, "has to begin with https://"),
            ("ftp://example.com/s3cret", _SECRET, "no URL such as"),
            ("https:///s3cret", _SECRET, "no URL such as"),
            ("https://example.com:s3cret", _SECRET, "no URL such as"),
            ("s3cret", _SECRET, "no URL such as"),
            ("https://example.com/s3cret", "", "it needs a secret"),
            ("https://example.com", "whsec_czNjcmV0", "base64 of 24 bytes"),
            ("https://example.com", "s3cret", "number 1 is not whsec_"),
            ("https://example.com", f"{_SECRET},whsec_s3cret", "number 2 is not whsec_"),
        ],
    )
    def test_webhooks_that_are_wrong_are_refused_and_not_shown(
        self, url: str, secret: str, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", "--webhook-url", url, "--webhook-secret", secret]) != 0
        said = capsys.readouterr().err
        assert reason in said
        assert "s3cret" not in said
        assert "czNjcmV0" not in said

    def test_arguments_win_over_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PILOTLIGHT_PORT", "1234")
        assert Settings(port=99).port == 99

    def test_keys_are_a_list_and_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PILOTLIGHT_API_KEY", " first , second ")
        settings = Settings()
        assert keys(settings) == ["first", "second"]
        assert "first" not in repr(settings)
        assert "first" not in str(settings.model_dump())

    @pytest.mark.parametrize(
        ("host", "is_loopback"),
        [
            ("127.0.0.1", True),
            ("localhost", True),
            ("::1", True),
            ("0.0.0.0", False),
            ("::", False),
            ("192.168.1.5", False),
            ("127.0.0.1.example.com", False),
        ],
    )
    def test_loopback_is_known(self, host: str, is_loopback: bool) -> None:
        assert Settings(host=[host]).is_loopback is is_loopback
        assert not Settings(host=["::1", "192.168.1.5", host]).is_loopback


class TestCommand:
    """What ``pilotlight serve`` makes of its arguments."""

    @pytest.mark.sweep(7)
    @pytest.mark.parametrize(
        ("flag", "value"),
        [
            ("--port", "65536"),
            ("--port", "-1"),
            ("--port", "http"),
            ("--ctx-size", "-1"),
            ("--ctx-size", "4k"),
            ("--parallel", "0"),
            ("--parallel", "257"),
            ("--batch-size", "0"),
            ("--threads", "-2"),
            ("--n-predict", "-1"),
            ("--n-gpu-layers", "most"),
            ("--flash-attn", "maybe"),
            ("--max-queue", "0"),
            ("--max-body-size", "0"),
            ("--grace-period", "-1"),
            ("--grace-period", "nan"),
            ("--log-level", "loud"),
            ("--alias", "with space"),
            ("--alias", "good,-bad"),
            ("--alias", "a" * 257),
        ],
    )
    def test_a_bad_value_is_said_with_flag_and_variable(
        self, capsys: pytest.CaptureFixture[str], flag: str, value: str
    ) -> None:
        status = main(["serve", f"{flag}={value}"])
        said = capsys.readouterr()
        assert status == 2
        assert flag in said.err
        assert f"PILOTLIGHT_{flag[2:].upper().replace('-', '_')}" in said.err
        assert len(said.err.splitlines()) == 1
        assert said.out == ""

    def test_a_bad_variable_is_said_too(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PILOTLIGHT_PARALLEL", "many")
        assert main(["serve"]) == 2
        assert "PILOTLIGHT_PARALLEL" in capsys.readouterr().err

    def test_all_bad_values_are_said_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["serve", "--port", "x", "--parallel", "x"]) == 2
        said = capsys.readouterr().err
        assert "--port" in said
        assert "--parallel" in said

    def test_a_flag_wins_over_a_bad_variable(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The host that needs a key comes from the flag; the variables' values are not used."""
        monkeypatch.setenv("PILOTLIGHT_HOST", "127.0.0.1")
        monkeypatch.setenv("PILOTLIGHT_PORT", "x")
        assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
        said = capsys.readouterr().err
        assert "0.0.0.0" in said
        assert "PILOTLIGHT_PORT" not in said

    def test_a_variable_counts_where_no_flag_is_given(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PILOTLIGHT_HOST", "192.0.2.1")
        assert main(["serve", "--port", "0"]) == 2
        assert "192.0.2.1" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--accounts"], {"accounts": True}),
            (["--accounts", "--port", "0"], {"accounts": True, "port": 0}),
            (["--accounts", "false"], {"accounts": False}),
            (["--accounts=off"], {"accounts": False}),
            (["--accounts", "--no-accounts"], {"accounts": False}),
            (["-kvu"], {"kv_unified": True}),
            (["--no-kv-unified"], {"kv_unified": False}),
            (["-no-kvu"], {"kv_unified": False}),
            (["-nkvo"], {"kv_offload": False}),
            (["--no-slots"], {"slots": False}),
            (["--context-shift"], {"context_shift": True}),
            (["-fa", "on"], {"flash_attn": True}),
            (["-fa", "off"], {"flash_attn": False}),
            (["-fa", "auto", "-kvu", "Auto"], {"flash_attn": None, "kv_unified": None}),
            (["-ngl", "all", "-ngld", "auto"], {"n_gpu_layers": -1, "spec_draft_ngl": -1}),
            (["--gpu-layers", "3"], {"n_gpu_layers": 3}),
            (["--predict", "3", "--temperature", "0.5"], {"n_predict": 3, "temp": 0.5}),
        ],
    )
    def test_llama_servers_spellings_are_understood(
        self, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: dict[str, object]
    ) -> None:
        served: list[Settings] = []
        monkeypatch.setattr("functions.cli.serve.serve", served.append)
        main(["serve", *arguments])
        assert {name: getattr(served[0], name) for name in expected} == expected

    @pytest.mark.parametrize(
        "arguments", [["serve", "--nonsense"], ["serve", "--port"], ["dance"], ["serve", "extra"]]
    )
    def test_unknown_arguments_are_refused(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: pilotlight" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "meant"),
        [
            (
                ["srve"],
                "'srve' (choose from",
            ),
            (["srve"], "did you mean 'serve'?"),
            (["SERVE"], "did you mean 'serve'?"),
            (["completions", "lst"], "did you mean 'list'?"),
            (["completions", "export", "--format", "mesages"], "did you mean 'messages'?"),
            (["store", "int"], "did you mean 'init'?"),
            (["serve", "--modle", "x"], "--modle, did you mean '--model'?"),
            (["serve", "--modle=x"], "--modle, did you mean '--model'?"),
            (["serve", "--MODEL", "x"], "did you mean '--model'?"),
            (["serve", "--ctx_size", "5"], "did you mean '--ctx-size'?"),
            (["serve", "--ngl", "5"], "did you mean '-ngl'?"),
            (["serve", "-model", "x"], "-model, did you mean '--model'?"),
            (["serve", "-port=5"], "-port, did you mean '--port'?"),
            (["serve", "--prot", "1", "--hots", "x"], "'--port'? --hots, did you mean '--host'?"),
            (["chat", "--max_tokens", "5", "Hello"], "did you mean '--max-tokens'?"),
            (["chat", "--frobnicate", "Hello"], "arguments: --frobnicate\n"),
            (["completions", "list", "--lmit", "5"], "did you mean '--limit'?"),
            (["--versoin"], "did you mean '--version'?"),
            (["--model", "x"], "the options of a command go behind it"),
        ],
    )
    def test_what_is_misspelt_is_named_with_what_was_meant(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], meant: str
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert meant in capsys.readouterr().err

    def test_a_misspelt_option_shows_its_commands_usage(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main(["completions", "show", "--jsn", "x"])
        assert "usage: pilotlight completions show " in capsys.readouterr().err

    def test_a_misspelt_variable_is_said_and_somebody_elses_is_not(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PILOTLIGHT_MODLE", "x")
        monkeypatch.setenv("PILOTLIGHT_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("PILOTLIGHT_MODAL_GPU", "L4")
        assert main(["completions", "list", "--store", "none"]) == 2
        said = capsys.readouterr().err
        assert "PILOTLIGHT_MODLE: no such setting, did you mean 'PILOTLIGHT_MODEL'?\n" in said
        assert "PILOTLIGHT_SERVICE_HOST: no such setting\n" in said
        assert "MODAL" not in said

    def test_without_a_command_the_help_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        said = capsys.readouterr()
        assert "serve" in said.out + said.err
        assert "chat" in said.out + said.err


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", []),
        ("*", ["*"]),
        ("localhost, https://app.example.com", ["localhost", "https://app.example.com"]),
        ("http://[::1]:3000,http://10.0.0.7:8080", ["http://[::1]:3000", "http://10.0.0.7:8080"]),
        (
            "tauri://localhost,moz-extension://0b0e-1",
            ["tauri://localhost", "moz-extension://0b0e-1"],
        ),
        ("http://example.com:443", ["http://example.com:443"]),
    ],
)
def test_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: list[str]
) -> None:
    monkeypatch.setenv("PILOTLIGHT_CORS_ORIGINS", text)
    assert Settings().cors_origins == origins


@pytest.mark.parametrize(
    "origin",
    [
        *("https://app.example.com/", "https://app.example.com/chat", "app.example.com", "null"),
        *("https://App.example.com", "https://*.example.com", "https://app.example.com:443"),
        *("http://app.example.com:80", "https://b\xfccher.example", "https://", "https://a b"),
        *("https://user@app.example.com", "https://app.example.com:port", "https://a\r\nx: y"),
    ],
)
def test_origins_are_those_that_browsers_send(origin: str) -> None:
    with pytest.raises(ValidationError, match=r"is no origin as browsers send it.*https://app\."):
        Settings(cors_origins=[origin])
