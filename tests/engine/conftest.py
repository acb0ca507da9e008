"""The built-in model, loaded once, and engines of any size on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from shared.engine.config import EngineConfig
from shared.engine.engine import Engine
from shared.engine.llama import attention
from shared.engine.llama.model import Model
from shared.engine.mailbox.generation import Generation
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.types import (
    FinishReason,
    GenerationRequest,
    Output,
    PromptProgress,
    SamplingParams,
    SequenceUsage,
    TokenLogprobs,
)
from shared.models.sources import BUILTIN_PATH

EngineFactory = Callable[..., Engine]

GREEDY = SamplingParams(seed=0, temperature=0)
LONG = replace(GREEDY, ignore_eos=True)
"""Greedy, and goes on until it reaches ``max_tokens``."""

DRAFT_MODEL_ONLY = SpeculationOptions(looks_up=False, has_draft_model=True)

POOL, SHARE = 8192, 1024
"""Cells of a pool, or of a sequence: the usual 65,536 take a tenth of a second to make."""


@dataclass
class Result:
    """One finished choice."""

    text: str = ""
    finish_reason: FinishReason | None = None
    stop: str | None = None
    reached_deadline: bool = False
    error: str | None = None
    usage: SequenceUsage | None = None
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    progress: list[PromptProgress] = field(default_factory=list)
    usages: list[SequenceUsage] = field(default_factory=list)

    def add(self, output: Output) -> None:
        self.text += output.text
        self.logprobs.extend(output.logprobs)
        self.prompt_logprobs.extend(output.prompt_logprobs)
        self.tokens.extend(output.tokens)
        if output.progress is not None:
            self.progress.append(output.progress)
        if output.usage is not None:
            self.usages.append(output.usage)
        self.finish_reason = output.finish_reason
        self.stop = output.stop
        self.reached_deadline = output.reached_deadline
        self.error = output.error
        self.usage = output.usage or self.usage

    @property
    def cost(self) -> SequenceUsage:
        assert self.usage is not None
        return self.usage


@pytest.fixture(scope="session")
def model() -> Iterator[Model]:
    loaded = Model(BUILTIN_PATH)
    yield loaded
    loaded.close()


class CheckedEngine(Engine):
    """Compares its bookkeeping with llama.cpp's memory whenever it has nothing to do."""

    integrity_error: AssertionError | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.submitting = threading.RLock()
        """While a test has it no request is taken: so those of one moment are, all together."""
        wait, receive = self._turns._await_letter, self._loop._receive

        def check_and_wait() -> None:
            self._check_integrity()
            wait()

        def receive_later() -> None:
            with self.submitting:
                receive()

        self._turns._await_letter = check_and_wait  # type: ignore[method-assign]
        self._loop._receive = receive_later  # type: ignore[method-assign]

    def _check_integrity(self) -> None:
        try:
            self._kv.check_integrity()
            if self._speculator is not None:
                self._speculator.check_integrity()
            assert (self._kv.n_entries_running, self._kv.n_cells_running) == (0, 0)
        except AssertionError as error:
            self.integrity_error = error
            raise


@pytest.fixture(autouse=True)
def separate_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attention be separate operations where nobody says, whatever this machine's kernels are.

    They take other amounts of memory than fused attention, and round less: with that, log
    probabilities of the same text differed by up to 0.12 between two shapes of batches.
    """
    monkeypatch.setattr(attention, "is_vectorized", lambda _: False)


@pytest.fixture(params=[True, False], ids=["pool", "shares"])
def make_engine(model: Model, request: pytest.FixtureRequest) -> Iterator[EngineFactory]:
    """Makes running engines; every test sees both layouts of the KV cache."""
    engines: list[CheckedEngine] = []

    def make(**sizes: Any) -> Engine:
        sizes.setdefault("kv_unified", request.param)
        n_ctx = POOL if sizes["kv_unified"] else SHARE * sizes.get("n_parallel", 16)
        sizes.setdefault("n_ctx", n_ctx)
        prefixes, draft_model = sizes.pop("prefixes", None), sizes.pop("draft_model", None)
        engine = CheckedEngine(model, EngineConfig(**sizes), prefixes, draft_model)
        engine.start()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.stop()
        if engine.integrity_error is not None:
            raise engine.integrity_error


@pytest.fixture
def make_drafting(make_engine: EngineFactory, model: Model) -> EngineFactory:
    """The same of engines whose draft model is the model itself."""
    few: dict[str, Any] = {"n_parallel": 3, "n_threads": 1}
    drafting = {"speculation": DRAFT_MODEL_ONLY, "draft_model": model}
    return lambda **sizes: make_engine(**{**few, **drafting, **sizes})


def chat(model: Model, question: str) -> list[int]:
    """A question in the built-in model's chat format."""
    return model.tokenize(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")


def request(prompt: list[int], max_tokens: int = 64, **fields: object) -> GenerationRequest:
    """A greedy request unless ``sampling`` says otherwise."""
    fields.setdefault("sampling", GREEDY)
    return GenerationRequest(prompt=prompt, max_tokens=max_tokens, **fields)  # type: ignore[arg-type]


async def collect(engine: Engine, *requests: GenerationRequest, tenant: str = "") -> list[Result]:
    """Submit the requests as one caller and gather all choices."""
    return await _results(engine.submit(*requests, tenant=tenant))


async def _results(generation: Generation) -> list[Result]:
    results = [Result() for _ in range(generation.n_sequences)]
    async for outputs in generation:
        for output in outputs:
            results[output.index].add(output)
    return results


def run(engine: Engine, *requests: GenerationRequest) -> list[Result]:
    """Serve the requests at the same time, as different callers."""

    async def gather() -> list[Result]:
        with engine.submitting if isinstance(engine, CheckedEngine) else nullcontext():
            generations = [engine.submit(each) for each in requests]
        lists = await asyncio.gather(*map(_results, generations))
        return [result for results in lists for result in results]

    return asyncio.run(gather())


def one(engine: Engine, generation_request: GenerationRequest) -> Result:
    """Serve one request alone."""
    return run(engine, generation_request)[0]
