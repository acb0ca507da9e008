"""One run of lm-eval: a command of docs/evaluation.md, and the samples that it writes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pages import Example
from tests.server import ServerProcess

_ROOT = Path(__file__).parents[2]
_SECONDS = 240
_METRICS = ("prompt_tokens_total", "evaluated_tokens_total", "steps_total")


@dataclass(frozen=True, slots=True)
class Scored:
    """A text that lm-eval had scored behind ``context``; ``is_greedy`` None where it has none."""

    context: str
    continuation: str
    logprob: float
    is_greedy: bool | None


@dataclass(frozen=True, slots=True)
class Run:
    """What a command printed and wrote, and what the server counted meanwhile."""

    printed: str
    samples: dict[str, list[dict[str, Any]]]
    counted: dict[str, float]

    def choices(self, task: str) -> Iterator[Scored]:
        """Every choice of a multiple choice task."""
        for sample in self.samples.get(task, ()):
            for asked, ((logprob, is_greedy),) in zip(
                sample["arguments"].values(), sample["resps"], strict=True
            ):
                yield Scored(asked["arg_0"], asked["arg_1"], float(logprob), is_greedy == "True")

    def texts(self, task: str) -> Iterator[Scored]:
        """Every text of a task about whole texts."""
        for sample in self.samples.get(task, ()):
            ((logprob,),) = sample["resps"]
            yield Scored("", sample["arguments"]["gen_args_0"]["arg_0"], float(logprob), None)


def run(
    command: Example, directory: Path, tokenizer: Path, server: ServerProcess, results: Path
) -> Run:
    """Run the command of ``directory`` offline; its results go to ``results``."""
    code = command.at(server.url)
    for placeholder, value in (("TOKENIZER", tokenizer), (" results ", f" {results} ")):
        code = code.replace(placeholder, str(value))
    before = {name: server.metric(name) for name in _METRICS}
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env={
            **os.environ,
            "PATH": f"{directory}{os.pathsep}{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(results / "cache"),
        },
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(
        printed=done.stdout,
        samples=_samples(results),
        counted={name: server.metric(name) - before[name] for name in _METRICS},
    )


def _samples(results: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for file in results.glob("*/samples_*.jsonl"):
        task = file.stem.removeprefix("samples_").rsplit("_", 1)[0]
        with file.open(encoding="utf-8") as lines:
            found[task] = [json.loads(line) for line in lines]
    return found
