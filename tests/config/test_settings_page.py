"""docs/settings.md: its table is the settings', its example works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.configuration import load
from shared.config.request_defaults import RequestDefaults
from shared.protocol.openai.chat_completions import ChatCompletionRequest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"


@pytest.mark.usefixtures("processes")
def test_the_table_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "render_settings_table.py", "--check"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_example_is_a_configuration(directory: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    file = directory / "pilotlight.toml"
    file.write_text(example[1])
    settings = load({"config": str(file)})
    body = '{"model": "creative", "messages": [{"role": "user", "content": "Hello"}]}'
    filled = RequestDefaults(settings).apply(ChatCompletionRequest.model_validate_json(body))
    assert settings.alias == ["steady", "creative"]
    assert (filled.temperature, filled.max_tokens) == (1.2, 500)
    assert filled.chat_template_kwargs == {"enable_thinking": False}
