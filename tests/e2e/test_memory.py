"""Models and contexts that don't fit into memory: what is said, before the kernel says nothing."""

from __future__ import annotations

import re
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.conftest import StartServer
from tests.forked_program import run_command
from tests.models.s3_server import BUCKET, S3Server
from tests.models.s3_server import environment as s3_environment
from tests.server import command, environment

pytestmark = pytest.mark.usefixtures("processes")

LAMBDA_SIZE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"


def refusal(
    *arguments: str, environ: Mapping[str, str] | None = None, address_space: int | None = None
) -> str:
    """What a server that can't start prints; ``address_space`` is what it may map, in bytes."""

    serve = ("serve", "--port", "0", *arguments)
    if address_space is None:
        ended = run_command(*serve, environ=environment(environ))
    else:
        limits = (address_space, address_space)
        ended = subprocess.run(
            command(*serve),
            env=environment(environ),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.fixture
def large_model(tmp_path: Path) -> Path:
    """A model of 3 GiB, most of it a hole: what is behind the weights does not matter."""
    path = tmp_path / "large.gguf"
    path.write_bytes(BUILTIN_PATH.read_bytes())
    with path.open("r+b") as file:
        file.truncate(3 * 2**30)
    return path


def test_a_context_that_no_machine_has_memory_for_is_refused() -> None:
    printed = refusal("--ctx-size", "500000000")
    assert "pilotlight: a context of 50000" in printed
    assert re.search(r"the KV cache takes 1\.2 TiB|the KV cache takes 12\d\d\.\d GiB", printed)
    assert re.search(r"--ctx-size \d+ fits, \d+ with --cache-type-k q8_0", printed)


def test_the_context_that_is_advised_is_served(start_server: StartServer) -> None:
    environ = {LAMBDA_SIZE: "1024"}
    printed = refusal("--ctx-size", "1000000", environ=environ)
    advised = re.search(r"--ctx-size (\d+) fits", printed)
    assert advised
    assert "free on this Lambda function" in printed
    # Less: what the process has imported by then, some 50 MB, differs from start to start.
    n_ctx = int(advised[1]) - 64 * 1024
    server = start_server("--ctx-size", str(n_ctx), environ=environ)
    assert server.metric("kv_cells") >= n_ctx


def test_a_function_with_little_memory_gets_a_shorter_context(start_server: StartServer) -> None:
    server = start_server("--parallel", "4", environ={LAMBDA_SIZE: "300"})
    assert server.metric("kv_cells") < 16384
    assert "the usual 16384 take too much memory" in server.log_text()
    assert server.chat().json()["choices"][0]["message"]["content"].endswith("Paris.")


def test_a_model_that_a_function_has_no_memory_for_is_refused(large_model: Path) -> None:
    printed = refusal("--model", str(large_model), environ={LAMBDA_SIZE: "2048"})
    assert (
        f"pilotlight: can't load {large_model}: it takes 3.0 GiB of memory, and there is 2.0 GiB "
        "on this Lambda function: it needs more memory, a smaller quantisation or a smaller model"
    ) in printed


def test_an_object_that_a_function_has_no_memory_for_is_refused() -> None:
    s3 = S3Server()
    s3.put("llms/small.gguf", BUILTIN_PATH.read_bytes())
    source = f"s3://{BUCKET}/llms/small.gguf"
    with s3.serving():
        printed = refusal(
            *("--model", source, "--model-cache", "memory"),
            environ={**s3_environment(s3.url), LAMBDA_SIZE: "1"},
        )
    assert re.search(
        rf"can't load {source}: it takes 0\.00 GB and 0\.00 GB of memory are free on this Lambda "
        "function: it needs more memory, a smaller quantisation",
        printed,
    )


def test_a_context_for_an_object_is_refused_alike() -> None:
    s3 = S3Server()
    s3.put("llms/small.gguf", BUILTIN_PATH.read_bytes())
    with s3.serving():
        printed = refusal(
            *("--model", f"s3://{BUCKET}/llms/small.gguf", "--model-cache", "memory"),
            *("--ctx-size", "500000000"),
            environ=s3_environment(s3.url),
        )
    assert re.search(r"a context of \d+ tokens does not fit: .* --ctx-size \d+ fits", printed)


def test_a_model_that_a_process_may_not_map_is_refused(large_model: Path) -> None:
    printed = refusal("--model", str(large_model), address_space=2 * 2**30)
    assert "it takes 3.0 GiB of memory, and there is 2.0 GiB on this process (ulimit -v)" in printed


def test_what_llama_cpp_can_not_allocate_is_named_with_what_is_free(large_model: Path) -> None:
    with large_model.open("r+b") as file:
        file.truncate(2**31 - 2**20)
    printed = refusal("--model", str(large_model), address_space=2**31)
    assert f"pilotlight: can't load {large_model}: it takes 2.0 GiB of memory, and there is" in (
        printed
    )
    assert "(llama_model_load: error loading model: mmap failed: Cannot allocate memory" in printed


def test_a_context_that_a_process_may_not_map_is_refused() -> None:
    printed = refusal("--ctx-size", "2000000", address_space=3 * 2**30)
    assert "does not fit" in printed
    assert "free on this process (ulimit -v)" in printed


def test_quantised_caches_are_settings(start_server: StartServer) -> None:
    server = start_server("--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "-ub", "64")
    assert server.chat().json()["choices"][0]["message"]["content"].endswith("Paris.")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--cache-type-v", "q8_0", "--flash-attn", "false"), "set --flash-attn true"),
        (("--tensor-split", ",".join(["1"] * 1000)), "--tensor-split is for 1000 GPUs"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], reason: str
) -> None:
    assert reason in refusal(*arguments)


def test_a_micro_batch_is_no_larger_than_a_batch() -> None:
    ended = run_command(
        *("serve", "--batch-size", "64", "--ubatch-size", "128"), environ=environment()
    )
    assert ended.returncode == 2
    assert "--ubatch-size" in ended.stderr
    assert "128 are more than the 64 of a whole batch" in ended.stderr
