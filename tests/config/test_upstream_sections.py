"""Sections of upstream models: what is wrong with one is said, and a key is shown nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.cli import commands
from shared.config.configuration import load

KEY = "sk-of-the-upstream-0123456789"


@pytest.mark.parametrize(
    "section",
    [
        {"key": KEY},
        {"key": f"env:{KEY}"},
        {"keys": f"env:{KEY}"},
        {"upstream": f"https://user:{KEY}@example.com"},
        {"upstream": f"https://example.com/?key={KEY}"},
        {"upstream": "http://example.com"},
        {"mode": KEY},
        {"dialect": KEY},
        {"price": {"prompt": KEY}},
        {"timeout": KEY},
    ],
)
def test_what_is_wrong_is_said_without_what_may_be_a_key(
    section: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"big": {"upstream": "https://example.com", "mode": "direct", **section}}
    monkeypatch.setenv("PILOTLIGHT_MODELS", json.dumps(models))
    assert commands.run(["serve"]) != 0
    printed = "".join(capsys.readouterr())
    assert '[models."big"]' in printed
    assert KEY not in printed


def test_settings_show_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    section = {"upstream": "https://example.com", "mode": "direct", "key": "env:FAKE_KEY"}
    settings = load({"models": json.dumps({"big": section})})
    upstream = settings.upstreams["big"]
    assert upstream.key is not None
    assert upstream.key.get_secret_value() == KEY
    for shown in (repr(settings), str(upstream), repr(upstream)):
        assert KEY not in shown


def test_a_server_without_a_model_needs_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["serve", "--model", "none"]) != 0
    assert "--model (PILOTLIGHT_MODEL): without a model of its own" in capsys.readouterr().err


@pytest.mark.parametrize("dialect", ["anthropic", "bedrock"])
def test_dialects_that_are_translated_are_no_direct_mode(dialect: str) -> None:
    section = {"upstream": "https://example.com", "mode": "direct", "dialect": dialect}
    with pytest.raises(ValueError, match="'mode' has to be 'adapter' with the dialect"):
        load({"models": json.dumps({"big": section})})


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a-1b.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("gateway.example.com", None),
    ],
)
def test_aws_credentials_need_a_region(
    host: str, region: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    section = {"upstream": f"https://{host}", "mode": "adapter", "dialect": "bedrock"}
    models = {"models": json.dumps({"big": section})}
    if region is None:
        with pytest.raises(ValueError, match="names no region"):
            load(models)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert load(models).upstreams["big"].region == (region or "eu-central-1")
