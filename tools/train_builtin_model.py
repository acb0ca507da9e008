"""Train pilotlight's built-in model and write it as a GGUF file.

Generates the corpus, learns the tokenizer, trains the network on the CPU and exports it; or, with
`--start`, goes on from a file's tokenizer and weights (fine-tuning). See docs/builtin-model.md for
what the model is and how well it does.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from random import Random

import torch
from builtin_model import tokenizer as bpe
from builtin_model.corpus import tokenizer_text
from builtin_model.export import QUANTIZATIONS, export, read_weights
from builtin_model.model import LanguageModel, ModelConfig
from builtin_model.training import TrainingConfig, train

DEFAULT_OUTPUT = Path(__file__).parent.parent / "shared" / "models" / "builtin.gguf"
TOKENIZER_SAMPLES = 20_000


def parse_arguments() -> argparse.Namespace:
    default = TrainingConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_OUTPUT, help="GGUF file to write (%(default)s)"
    )
    parser.add_argument(
        "--start", type=Path, help="GGUF file whose tokenizer and weights to begin with"
    )
    parser.add_argument(
        "--steps", type=int, default=default.steps, help="optimizer steps (%(default)s)"
    )
    parser.add_argument(
        "--batch-tokens",
        type=int,
        default=default.batch_tokens,
        help="tokens per step (%(default)s)",
    )
    parser.add_argument(
        "--peak-rate",
        type=float,
        default=default.peak_rate,
        help="highest learning rate (%(default)s)",
    )
    parser.add_argument(
        "--warmup-steps",
        type=int,
        default=default.warmup_steps,
        help="steps up to the highest learning rate (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=default.seed, help="seed of corpus and weights (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=default.threads, help="CPU threads (%(default)s)"
    )
    parser.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        default="F16",
        help="type of the matrices (%(default)s)",
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="also save the float32 weights and the tokenizer here"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shape = ModelConfig()
    config = TrainingConfig(
        steps=arguments.steps,
        batch_tokens=arguments.batch_tokens,
        peak_rate=arguments.peak_rate,
        warmup_steps=arguments.warmup_steps,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    started = time.monotonic()
    if arguments.start:
        tokenizer = bpe.load(arguments.start)
    else:
        text = tokenizer_text(Random(config.seed), TOKENIZER_SAMPLES)
        tokenizer = bpe.train(text, shape.vocab_size)
        print(
            f"tokenizer of {shape.vocab_size} tokens: {time.monotonic() - started:.0f} s",
            file=sys.stderr,
        )
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    model = LanguageModel(shape)
    if arguments.start:
        model.load_state_dict(read_weights(model, arguments.start))
    train(model, tokenizer, config)
    if arguments.checkpoint:
        torch.save(
            {"model": model.state_dict(), "tokenizer": tokenizer.to_str()}, arguments.checkpoint
        )
    export(model, tokenizer, arguments.output, arguments.quantization)
    parameters = sum(weight.numel() for weight in model.parameters())
    size = arguments.output.stat().st_size
    elapsed = time.monotonic() - started
    print(f"{arguments.output}: {parameters:,} parameters, {size:,} bytes, {elapsed:.0f} s in all")


if __name__ == "__main__":
    main()
