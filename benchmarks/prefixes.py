"""Time to the first token of a prompt whose beginning is stored, from each place it may be in.

Each is a process of its own that has seen nothing of the prompt, except for memory, where another
prompt has taken its KV cells, and for the snapshot, which has it as a warm prefix. The bucket is a
server on this machine: one as fast as the loopback, and one whose connections are as slow as S3's.
Beside them llama-server, if `LLAMA_SERVER` names a binary, with its cache in the host's memory.

What was to be restored and was not ends the benchmark: it would have measured evaluation.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx2

from benchmarks.process import HOST, free_port
from benchmarks.prompts import LEXICON

SUITE = "prefixes"

_LENGTHS = (256, 1024, 4096)
"""Tokens of the beginning; 16 others follow."""
_CONTEXT = 4608
_BUCKET = "s3://prefixes/x"
_S3 = {"S3, loopback": (), "S3, 30 ms, 90 MB/s": ("--delay", "30", "--rate", "90")}
_READY_SECONDS = 120.0
_LIMITS = httpx2.Limits(max_keepalive_connections=0)
"""A connection for each request: llama-server closes them while they are idle."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Answer:
    """Seconds to the first token, tokens that were not evaluated, the server's processor time."""

    seconds: float
    n_cached: int
    processor: float


@dataclass(frozen=True)
class _Server:
    """A running server: its client, and its process."""

    http: httpx2.Client
    pid: int

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def first_token(self, path: str, body: Mapping[str, object]) -> _Answer:
        """Ask for two tokens as a stream."""
        asked = {"temperature": 0, "stream": True, **body}
        processor, started = self.processor_seconds(), time.perf_counter()
        first, usage = 0.0, dict[str, dict[str, int]]()
        with self.http.stream("POST", path, json=asked) as response:
            if not response.is_success:
                response.read()
                raise RuntimeError(f"{path} answered {response.status_code}: {response.text}")
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if not first and (event.get("choices") or "output_text.delta" in line):
                    first = time.perf_counter() - started
                usage = event.get("usage") or event.get("response", {}).get("usage") or usage
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
        return _Answer(first, details.get("cached_tokens", 0), self.processor_seconds() - processor)

    def complete(self, prompt: Sequence[int]) -> _Answer:
        """The first token behind a prompt of tokens."""
        body = {"prompt": prompt, "max_tokens": 2, "prompt_cache_key": "benchmark"}
        return self.first_token(
            "/v1/completions", {**body, "stream_options": {"include_usage": True}}
        )


def markdown(model: Path, rounds: int, threads: int, logs: Path) -> str:
    """Tables with a row for each place: time to the first token, and processor time."""
    samples: dict[tuple[str, int], list[_Answer]] = {}
    for _ in range(rounds):
        for length in _LENGTHS:
            for place, n_least, answer in _Places(model, threads, length, logs).measure():
                print(
                    f"  {place}, {length} tokens: {answer.seconds:.3f} s, "
                    f"{answer.processor:.2f} s of processor time, {answer.n_cached} cached",
                    file=sys.stderr,
                    flush=True,
                )
                if not n_least <= answer.n_cached <= (length + 16 if n_least else 64):
                    raise RuntimeError(f"{place}: {answer.n_cached} tokens of {length} were cached")
                samples.setdefault((place, length), []).append(answer)
    titles: list[tuple[str, Callable[[_Answer], float]]] = [
        ("Time to the first token behind a stored prefix", lambda answer: answer.seconds),
        ("Processor time of the same", lambda answer: answer.processor),
    ]
    return "\n".join(_table(title, samples, value) for title, value in titles)


def _table(
    title: str, samples: Mapping[tuple[str, int], list[_Answer]], value: Callable[[_Answer], float]
) -> str:
    places = list(dict.fromkeys(place for place, _ in samples))
    rows = [
        "| place | " + " | ".join(f"{length} tokens, ms" for length in _LENGTHS) + " |",
        "|---" * (len(_LENGTHS) + 1) + "|",
    ]
    medians = {key: median(map(value, answers)) for key, answers in samples.items()}
    for place in places:
        cells = []
        for length in _LENGTHS:
            whole = medians[places[0], length]
            cells.append(
                f"{medians[place, length] * 1000:.0f} ({medians[place, length] / whole:.1%})"
            )
        rows.append(f"| {place} | " + " | ".join(cells) + " |")
    return "\n".join([f"## {title}", "", *rows, ""])


class _Places:
    """One length, from every place once."""

    def __init__(self, model: Path, threads: int, length: int, logs: Path) -> None:
        self._model = model
        self._threads = threads
        self._length = length
        self._logs = logs
        words = random.Random(length)
        self._text = " ".join(words.choices(LEXICON, k=length + 64))
        self._follow_up = " ".join(words.choices(LEXICON, k=12))
        self._other = _tokens(300, 3)

    def measure(self) -> Iterator[tuple[str, int, _Answer]]:
        """Each place, how many tokens have to be cached there at least, and what was measured."""
        with tempfile.TemporaryDirectory() as folder:
            yield from self._own_places(Path(folder))
        if binary := os.environ.get("LLAMA_SERVER"):
            yield from self._llama_server(binary)
        yield from self._follow_ups()

    def _own_places(self, folder: Path) -> Iterator[tuple[str, int, _Answer]]:
        length, other = self._length, self._other
        store, warm = folder / "store", folder / "system.txt"
        warm.write_text(self._text)
        with self._fresh(prefix_store=store) as server:
            beginning = self._beginning(server)
            prompt = [*beginning, *_tokens(16, 2)]
            yield "evaluated", 0, server.complete(prompt)
        with self._fresh(prefix_store="", warm_prefix=warm) as server:
            yield "snapshot (--warm-prefix)", length - 1, server.complete(prompt)
        with self._fresh(prefix_store=store) as server:
            yield "directory", length, server.complete(prompt)
        with self._fresh(prefix_store="", prefix_memory=2**30) as server:
            server.complete([*beginning, *_tokens(16, 4)])
            server.complete(other)
            yield "memory", length, server.complete(prompt)
        for place, options in _S3.items():
            with (
                _bucket(store, *options) as port,
                self._fresh(f"http://{HOST}:{port}", prefix_store=_BUCKET) as server,
            ):
                yield place, length, server.complete(prompt)

    def _beginning(self, server: _Server) -> list[int]:
        """The first tokens of the warm prefix."""
        messages = [{"role": "system", "content": self._text}]
        body = {"messages": messages, "add_generation_prompt": False}
        text = server.http.post("/apply-template", json=body).raise_for_status().json()["prompt"]
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens = server.http.post("/tokenize", json=body).raise_for_status().json()["tokens"]
        beginning: list[int] = tokens[: self._length]
        return beginning

    @contextmanager
    def _fresh(self, url: str = "", /, **settings: object) -> Iterator[_Server]:
        """A process that has what a snapshot has: weights, clients, code that has run once."""
        with _serving(self._model, self._threads, self._logs, url, settings) as server:
            server.complete(self._other)
            yield server

    def _llama_server(self, binary: str) -> Iterator[tuple[str, int, _Answer]]:
        port = free_port()
        command = [binary, "--model", str(self._model), "--host", HOST, "--port", str(port)]
        command += ["--ctx-size", str(_CONTEXT), "--threads", str(self._threads), "--parallel", "1"]
        beginning = _tokens(self._length, 1)
        with _running([*command, "--cache-ram", "8192"], port, {}, self._logs) as server:
            server.complete(self._other)
            answer = server.complete([*beginning, *_tokens(16, 2)])
            yield "llama-server, evaluated", 0, answer
            server.complete(self._other)
            answer = server.complete([*beginning, *_tokens(16, 4)])
            yield "llama-server, --cache-ram", self._length, answer

    def _follow_ups(self) -> Iterator[tuple[str, int, _Answer]]:
        """The second turn of a stored response, in another process than the first."""
        with tempfile.TemporaryDirectory() as folder:
            common: dict[str, object] = {"data_dir": folder, "store": "sqlite"}
            kept = {**common, "prefix_store": Path(folder) / "prefixes"}
            text = " ".join(self._text.split()[: self._length])
            asked = {"input": text, "store": True, "max_output_tokens": 2}
            with self._fresh(**kept) as server:
                body = {**asked, "prompt_cache_key": "benchmark"}
                first = server.http.post("/v1/responses", json=body).raise_for_status().json()
            then = {"input": self._follow_up, "previous_response_id": first["id"]}
            then |= {"max_output_tokens": 2, "prompt_cache_key": "benchmark"}
            for place, settings, n_least in (
                ("previous_response_id, evaluated", {**common, "prefix_store": ""}, 0),
                ("previous_response_id, directory", kept, self._length),
            ):
                with self._fresh(**settings) as server:
                    answer = server.first_token("/v1/responses", then)
                    yield (
                        place,
                        n_least,
                        _Answer(
                            answer.seconds, min(answer.n_cached, self._length), answer.processor
                        ),
                    )


def _tokens(count: int, seed: int) -> list[int]:
    """Plain tokens of the model that is made for benchmarks."""
    return [1000 + (seed * 7919 + i * 104729) % 100_000 for i in range(count)]


@contextmanager
def _bucket(folder: Path, *options: str) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.prefix_server", str(folder), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def _serving(
    model: Path, threads: int, logs: Path, url: str, settings: Mapping[str, object]
) -> Iterator[_Server]:
    port = free_port()
    chosen = {"port": port, "model": model, "threads": threads, "ctx_size": _CONTEXT}
    chosen |= {"parallel": 1, "kv_unified": "false", "store": "none", "prefix_timeout": 10}
    chosen |= settings
    environment = {f"PILOTLIGHT_{name.upper()}": str(value) for name, value in chosen.items()}
    if url:
        environment |= {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        environment |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    command = [sys.executable, "-m", "functions.cli", "serve"]
    with _running(command, port, environment, logs) as server:
        yield server


@contextmanager
def _running(
    command: Sequence[str], port: int, environment: Mapping[str, str], logs: Path
) -> Iterator[_Server]:
    """A server that is ready; stopped in the end."""
    with (logs / "prefixes.log").open("ab") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        try:
            with httpx2.Client(
                base_url=f"http://{HOST}:{port}", timeout=600, limits=_LIMITS
            ) as http:
                _await_ready(http)
                yield _Server(http, process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _await_ready(http: httpx2.Client) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        try:
            if http.get("/health").is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server does not get ready: see its log")
