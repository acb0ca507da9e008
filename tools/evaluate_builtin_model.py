"""Measure pilotlight's built-in model, as a GGUF file run by llama.cpp, task by task."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
from builtin_model import tokenizer as bpe
from builtin_model.chat import TEMPLATE_FILE, segments
from builtin_model.corpus import sample
from builtin_model.evaluation import SEED, TASKS, stories
from builtin_model.runner import Runner

DEFAULT_MODEL = Path(__file__).parent.parent / "shared" / "models" / "builtin.gguf"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", type=Path, nargs="?", default=DEFAULT_MODEL, help="GGUF file (%(default)s)"
    )
    parser.add_argument(
        "--task", action="append", choices=TASKS, help="only this task; may be repeated"
    )
    parser.add_argument(
        "--failures", type=int, default=0, help="failed cases to print per task (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    return parser.parse_args()


def check_tokenizer(runner: Runner, path: Path, count: int = 400) -> int:
    """How many of `count` corpus texts llama.cpp tokenizes otherwise than in training."""
    reference = bpe.load(path)
    rng = Random(SEED)
    differing = 0
    for _ in range(count):
        pieces = segments(sample(rng))
        expected = [token for text, _ in pieces for token in reference.encode(text).ids]
        differing += runner.tokenize("".join(text for text, _ in pieces)) != expected
    return differing


def check_template(runner: Runner) -> bool:
    """Whether the file carries the very template that rendered the corpus."""
    return bool(
        runner.llama.metadata["tokenizer.chat_template"]
        == TEMPLATE_FILE.read_text(encoding="utf-8")
    )


def evaluate(runner: Runner, name: str, failures: int) -> None:
    """Run one task and print its line of the table."""
    passed = total = 0
    margins: list[float] = []
    wrong: list[str] = []
    for case in TASKS[name](Random(f"{SEED} {name}")):
        answer = runner.complete(case.prompt)
        margins.append(answer.margin)
        total += 1
        if case.passes(answer):
            passed += 1
        else:
            wrong.append(
                f"{case.prompt!r}\n    expected {case.expected!r}\n    answered {answer.text!r}"
            )
    low, median = np.percentile(margins, [1, 50])
    print(
        f"| {name} | {passed}/{total} | {100 * passed / total:.1f} % | {low:.2f} | {median:.2f} |",
        flush=True,
    )
    for text in wrong[:failures]:
        print(f"    {text}", file=sys.stderr)


def evaluate_sampled_stories(runner: Runner) -> None:
    """Stories at temperature 1 must still end by themselves."""
    sampler = np.random.default_rng(SEED)
    answers = [
        (case, runner.complete(case.prompt, sampler=sampler)) for case in stories(Random(SEED))
    ]
    passed = sum(case.passes(answer) for case, answer in answers)
    total = len(answers)
    print(f"| stories at temperature 1 | {passed}/{total} | {100 * passed / total:.1f} % | | |")


def measure_speed(runner: Runner) -> str:
    """Tokens per second of prefill and of one-sequence decoding, by llama.cpp alone."""
    prompt = [token for case in stories(Random(SEED)) for token in runner.tokenize(case.prompt)][
        :512
    ]
    runner.llama.reset()
    started = time.perf_counter()
    runner.llama.eval(prompt)
    prefill = len(prompt) / (time.perf_counter() - started)
    started = time.perf_counter()
    for token in prompt[:256]:
        runner.llama.eval([token])
    decode = 256 / (time.perf_counter() - started)
    return f"prefill {prefill:,.0f} tokens/s, decode {decode:,.0f} tokens/s"


def main() -> None:
    arguments = parse_arguments()
    started = time.monotonic()
    runner = Runner(arguments.model, arguments.threads)
    differing = check_tokenizer(runner, arguments.model)
    print(f"{differing} of 400 texts tokenized otherwise than in training")
    print(f"chat template {'as' if check_template(runner) else 'NOT as'} in training")
    print(f"{arguments.threads} thread(s): {measure_speed(runner)}\n")
    print("| task | right | accuracy | margin, 1st percentile | margin, median |")
    print("|---|---|---|---|---|")
    for name in arguments.task or TASKS:
        evaluate(runner, name, arguments.failures)
    if not arguments.task:
        evaluate_sampled_stories(runner)
    print(f"\n{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
