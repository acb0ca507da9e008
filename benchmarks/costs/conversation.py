"""What a conversation costs on Lambda with and without the prefix cache: formulas.

Each turn's prompt has all turns before it. An environment handles one request at a time and ends
some time later, so that the next turn may come to one that has seen nothing of them.
"""

from dataclasses import dataclass

from benchmarks.costs.pricing import PRICES, Measured, lambda_second, one_thread

BLOCK = 256
"""Tokens of a stored block (docs/prefix-cache.md)."""
TOKEN_BYTES = 12 * 1024
"""Of the state of the model that was measured."""
RESTORE_SECONDS = 0.1
"""Reading the state of 4,096 tokens from a bucket with S3's latency and rate, beyond what memory
takes, as the benchmark of prefixes has it; 1,024 tokens take 0.07 s."""
STORED_DAYS = 1
"""Until the bucket's lifecycle rule deletes it."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Tokens of the system prompt, of each message, and of each answer."""

    turns: int = 10
    system: int = 1000
    message: int = 106
    answer: int = 64

    def prompt(self, turn: int) -> int:
        """Tokens of a turn's prompt; the first turn is 0."""
        return self.system + turn * (self.message + self.answer) + self.message

    def stored(self, turn: int) -> int:
        """Whole blocks that the turns before have left."""
        return self.prompt(turn - 1) // BLOCK if turn else 0

    @property
    def evaluated_anew(self) -> int:
        """Prompt tokens of all turns, where nothing is cached."""
        return sum(map(self.prompt, range(self.turns)))

    @property
    def evaluated_behind_stored(self) -> int:
        """The same where all whole blocks of the turn before are read."""
        return self.evaluated_anew - BLOCK * sum(map(self.stored, range(self.turns)))

    @property
    def evaluated_once(self) -> int:
        """The same in one environment, which has in its KV cells what it has seen."""
        return self.prompt(self.turns - 1) - self.answer * (self.turns - 1)

    @property
    def reads(self) -> int:
        """Requests to S3: for all blocks that a prompt could have, at once."""
        return sum(self.prompt(turn) // BLOCK for turn in range(self.turns))

    @property
    def writes(self) -> int:
        """Blocks that are written."""
        return self.prompt(self.turns - 1) // BLOCK


def seconds(measured: Measured, conversation: Conversation, evaluated: int) -> float:
    """What all turns take on Lambda, if so many tokens of their prompts are evaluated."""
    answers = conversation.turns * conversation.answer
    usual = one_thread("AVX2", measured.prompt_tokens, measured.completion_tokens)
    return measured.seconds * one_thread("AVX2", evaluated, answers) / usual


def compute(measured: Measured, seconds: float) -> float:
    """Dollars for so many seconds of the function."""
    return seconds * lambda_second(measured.memory)


def storing(conversation: Conversation) -> float:
    """Dollars for what S3 is asked and keeps of a conversation."""
    prices = PRICES["s3"]
    requests: float = conversation.reads * prices["get"] + conversation.writes * prices["put"]
    size = conversation.writes * BLOCK * TOKEN_BYTES / 1e9
    kept: float = size * STORED_DAYS / 30 * prices["gb_month"]
    return requests + kept
