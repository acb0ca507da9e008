"""Sandboxed compile: a grammar is tried in a process of its own before the server compiles it.

llguidance bounds most of its work, but not all. Intersections of a few regular expressions take
hours to compile, multiples of a large number gigabytes, and a chain of a thousand references ends
the process, since it overflows the stack. A thread that is lost in there can't be stopped. A
process can: its time and memory have limits, and if it crashes the grammar is refused, no more.

The process starts with the first grammar, which takes 0.1 s, and makes a copy of itself for each.
The grammar meets a vocabulary of single bytes there, since it is the grammar that takes the time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

CPU_SECONDS = 2
"""Processor time that compiling may take. A schema with 10,000 values takes 0.05 s."""
MEMORY_BYTES = 2**28
"""Memory that compiling may take."""


class GrammarSandbox:
    """Tries grammars out, one at a time. Safe to use from any thread."""

    def __init__(self, n_vocab: int, control_tokens: Mapping[int, str]) -> None:
        """``control_tokens`` are those that grammars may name, by their ids."""
        self._config = json.dumps([n_vocab, list(control_tokens.items())])
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, grammar: str) -> str | None:
        """Why ``grammar``, in llguidance's form, must not be compiled here; None if it may be."""
        with self._lock:
            if self._process is None:
                self._process = self._start()
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(grammar).encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:
                answer = b""
            if not answer:
                self._process = None
                raise RuntimeError(f"the sandbox of grammars ended with status {process.wait()}")
        reason: str | None = json.loads(answer)
        return reason

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            # -P: the modules beside this file are not to be found before the standard library.
            [sys.executable, "-P", __file__, self._config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is not meant for it
        )
        weakref.finalize(self, _end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process ends when there is nothing more to read."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # what was still to be written
        process.stdin.close()
    process.stdout.close()
    process.wait()


class _Bytes:
    """A vocabulary of single bytes and control tokens, as llguidance wants it."""

    def __init__(self, n_vocab: int, control_tokens: Mapping[int, str]) -> None:
        self.tokens = [b""] * n_vocab
        others = (token for token in range(n_vocab) if token not in control_tokens)
        for byte, token in zip(range(256), others, strict=False):
            self.tokens[token] = bytes([byte])
        for token, text in control_tokens.items():
            self.tokens[token] = b"\xff" + text.encode()
        self.special_token_ids: list[int] = []
        self.bos_token_id = None
        self.eos_token_id = next(iter(control_tokens), n_vocab - 1)

    def __call__(self, text: bytes | str) -> list[int]:
        data = text if isinstance(text, bytes) else text.encode()
        return [self.tokens.index(bytes([byte])) for byte in data]


def main() -> None:
    """Read grammars, a line of JSON each, and answer with a line each."""
    from llguidance import LLTokenizer, TokenizerWrapper

    n_vocab, controls = json.loads(sys.argv[1])
    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes(n_vocab, dict(controls))), slices=[])
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            _limit()
            _compile(tokenizer, json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(_reason(os.waitstatus_to_exitcode(status))), flush=True)


def _limit() -> None:
    """Set this process's limits, and keep what llguidance has to say of them to ourselves."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    if sys.platform == "linux":  # elsewhere the limit has no effect
        with open("/proc/self/statm", encoding="ascii") as file:
            n_pages = int(file.read().split()[0])
        size = n_pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _compile(tokenizer: Any, grammar: str) -> None:
    """As `ConstraintCompiler` does, on half of a thread's usual stack."""
    from llguidance import LLMatcher

    def work() -> None:
        LLMatcher(tokenizer, grammar, log_level=0).deep_copy().compute_bitmask()

    threading.stack_size(4 << 20)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _reason(exit_code: int) -> str | None:
    """What a copy's end means. What is merely wrong shows when the server compiles it."""
    if exit_code == 0:
        return None
    if exit_code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it takes more than {CPU_SECONDS} s to compile"
    if exit_code == -signal.SIGABRT:
        return f"it takes more than {MEMORY_BYTES >> 20} MiB to compile"
    return "it is nested too deeply"


if __name__ == "__main__":
    main()
