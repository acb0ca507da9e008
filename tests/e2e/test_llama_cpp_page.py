"""docs/llama-cpp.md: its commands run, and answer what it says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.protocol.llama_cpp.responses import LlamaCppResult
from tests.server import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "llama-cpp.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?", PAGE, re.DOTALL)


@pytest.mark.parametrize(("command", "answer"), EXAMPLES)
def test_the_commands_answer_what_the_page_says(
    server: ServerProcess, command: str, answer: str
) -> None:
    command = command.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=300, check=True
    )
    got = json.loads(done.stdout)
    assert "error" not in got
    if answer:
        assert got == json.loads(answer)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 7
    assert sum(bool(answer) for _, answer in EXAMPLES) == 6


@pytest.mark.parametrize("field", sorted(LlamaCppRequest.attributes()))
def test_the_page_names_every_request_field(field: str) -> None:
    shared = {"store", "safety_identifier", "prompt_cache_key", "repetition_penalty", "min_tokens"}
    families = {"xtc_", "dry_", "mirostat"}
    spelled = next(
        (f"`{family}*`" for family in families if field.startswith(family)), f"`{field}`"
    )
    assert field in shared or spelled in PAGE


@pytest.mark.parametrize("field", sorted(LlamaCppResult.model_fields))
def test_the_page_names_every_response_field(field: str) -> None:
    told_elsewhere = {"has_new_line", "prompt", "model", "index", "stop"}
    assert field in told_elsewhere or f"`{field}`" in PAGE
