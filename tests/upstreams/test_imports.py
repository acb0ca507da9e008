"""What serving models of others imports: little, and nothing of what models need."""

from __future__ import annotations

import subprocess
import sys

_CODE = """
import sys
import functions.http.api_app
before = set(sys.modules)
import shared.completion.upstreams.direct_completion, shared.upstreams.client, shared.upstreams.request
import shared.completion.upstreams.adapted_completion, shared.completion.upstreams.adapted_request
print(*sys.modules)
print(*set(sys.modules) - before)
"""
_HEAVY = {
    "llama_cpp",
    "numpy",
    "awscrt",
    "boto3",
    "h11",
    "httpcore2",
    "httpx2",
    "jinja2",
    "llguidance",
    "openai",
}


def test_it_brings_no_library_but_the_parser_of_http(processes: None) -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    everything, added = done.stdout.splitlines()
    packages = {name.partition(".")[0] for name in everything.split()}
    assert not packages & _HEAVY
    added_packages = {name.partition(".")[0] for name in added.split()}
    assert {"shared", "httptools"} <= added_packages
    assert len(added.split()) < 60


def test_dialects_are_imported_for_models_that_have_them(processes: None) -> None:
    """botocore's signatures, which take 0.25 s, for none: the first request needs them."""
    code = """
import sys
import shared.upstreams.dialects.selection
print(*sys.modules)
import shared.upstreams.dialects.anthropic_dialect
print(*sys.modules)
import shared.upstreams.dialects.bedrock_dialect
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    selection, anthropic, bedrock = map(set, map(str.split, done.stdout.splitlines()))
    assert not [name for name in selection if "anthropic" in name or "bedrock" in name]
    assert "botocore" not in anthropic
    assert "botocore.eventstream" in bedrock
    assert not {"botocore.session", "botocore.auth", "boto3"} & bedrock
