"""The contestants: how each is started, and how it is asked for the same work.

Each gets the configuration that serves it best under equal conditions: the same threads, the same
number of sequences at once, the same context for each sequence, no interruption of streams.
"""

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import PeerEnvironment, ensure_peer_environment, native_library_path

BASELINES = ("llama-server", "llama-server -kvu")
"""The contestants that the ratios refer to: whichever of them is better in a scenario."""

CONTESTANTS = ("pilotlight", *BASELINES, "examples/server", "llama_cpp.server")

MODEL_NAME = "model"
"""What every contestant calls the model, so that all accept the same request."""


@dataclass(frozen=True)
class Launch:
    """What a contestant is to serve, and with what."""

    model: Path
    port: int
    slots: int
    """Sequences that may run at once."""
    slot_context: int
    """Tokens of context for each of them."""
    threads: int

    @property
    def total_context(self) -> int:
        return self.slots * self.slot_context


class Peer(ABC):
    """A server that is measured."""

    name: str
    health: str
    """The path that answers 200 when the server is ready."""
    environment: dict[str, str]
    """Variables set on top of the benchmark's own."""

    def __init__(self) -> None:
        self.environment = {}

    @abstractmethod
    def command(self, launch: Launch) -> list[str]:
        """The command line that serves ``launch``."""

    def sampling(self, end_tokens: Sequence[int]) -> dict[str, object]:
        """Request fields of this server's dialect: no filters, no penalties, no early end.

        Every field is sent, because defaults differ (llama-server's are top-k 40, top-p 0.95 and
        min-p 0.05), and what a sampler skips it needn't compute. ``end_tokens`` are the ids
        that would end generation; none if the model never emits them: then nothing needs
        forbidding, which costs some servers time.
        """
        return {
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            **(self._without_end(end_tokens) if end_tokens else {}),
        }

    def _without_end(self, end_tokens: Sequence[int]) -> dict[str, object]:
        """Fields that keep generation from ending early."""
        return {"logit_bias": {str(token): -100.0 for token in end_tokens}}


class Pilotlight(Peer):
    """This project, as installed beside the interpreter that runs the benchmark."""

    name = "pilotlight"
    health = "/health"

    def command(self, launch: Launch) -> list[str]:
        executable = Path(sys.executable).with_name("pilotlight")
        return [str(executable), "serve", *_llama_server_options(launch)]

    def _without_end(self, end_tokens: Sequence[int]) -> dict[str, object]:  # noqa: ARG002
        return {"ignore_eos": True}


class LlamaServer(Peer):
    """llama.cpp's own server, in C++, with a KV cache for each slot or one for all (``-kvu``).

    Which is faster depends on the model, the number of streams and their lengths.
    """

    health = "/health"

    def __init__(self, name: str, binary: str) -> None:
        super().__init__()
        self.name = name
        self.binary = binary

    def command(self, launch: Launch) -> list[str]:
        unified = ["--kv-unified"] if self.name.endswith("-kvu") else ["--no-kv-unified"]
        return [self.binary, *_llama_server_options(launch), *unified]

    def _without_end(self, end_tokens: Sequence[int]) -> dict[str, object]:  # noqa: ARG002
        return {"ignore_eos": True}


class ExampleServer(Peer):
    """The batching server among llama-cpp-python's examples."""

    name = "examples/server"
    health = "/healthz"

    def __init__(self, installed: PeerEnvironment, config_directory: Path) -> None:
        super().__init__()
        self.installed = installed
        self.config_directory = config_directory
        self.environment = {"LD_LIBRARY_PATH": native_library_path()}

    def command(self, launch: Launch) -> list[str]:
        config = self.config_directory / "example-server.json"
        config.write_text(json.dumps(self._config(launch)))
        return [str(self.installed.python), str(self.installed.example_server), "-C", str(config)]

    def _config(self, launch: Launch) -> dict[str, object]:
        model: dict[str, object] = {
            "path": str(launch.model),
            "alias": MODEL_NAME,
            "n_ctx": launch.total_context,
            "n_seq_max": launch.slots,
            "threads": launch.threads,
            "threads_batch": launch.threads,
            # By default it copies every step's logits; its own example configuration says false.
            "store_logits": False,
        }
        return {"server": {"host": "127.0.0.1", "port": launch.port}, "model": model}


class LlamaCppServer(Peer):
    """llama-cpp-python's packaged server. It runs one request at a time, the others wait."""

    name = "llama_cpp.server"
    health = "/v1/models"

    def __init__(self, installed: PeerEnvironment) -> None:
        super().__init__()
        self.installed = installed
        self.environment = {"LD_LIBRARY_PATH": native_library_path()}

    def command(self, launch: Launch) -> list[str]:
        options = {
            "model": str(launch.model),
            "model_alias": MODEL_NAME,
            "host": "127.0.0.1",
            "port": str(launch.port),
            "n_ctx": str(launch.slot_context),
            "n_threads": str(launch.threads),
            "n_threads_batch": str(launch.threads),
            # Its default aborts the running stream when the next request arrives.
            "interrupt_requests": "false",
            # Its default computes and keeps the logits of every prompt token.
            "logits_all": "false",
            # Off by default; the other servers decide by themselves, for it, on a CPU.
            "flash_attn": "true",
            "use_mlock": "false",
            "verbose": "false",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [str(self.installed.python), "-m", "llama_cpp.server", *arguments]


class ClientAlone(Peer):
    """No server at all: prepared answers, to show that the client isn't the bottleneck."""

    name = "(client alone)"
    health = "/health"

    def command(self, launch: Launch) -> list[str]:
        return [sys.executable, "-m", "benchmarks.canned", str(launch.port)]


def _llama_server_options(launch: Launch) -> list[str]:
    """The options in llama-server's spelling, which pilotlight shares."""
    options: dict[str, object] = {
        "--model": launch.model,
        "--alias": MODEL_NAME,
        "--host": "127.0.0.1",
        "--port": launch.port,
        "--parallel": launch.slots,
        "--ctx-size": launch.total_context,
        "--threads": launch.threads,
    }
    return [str(part) for option in options.items() for part in option]


def contestants(names: Sequence[str], config_directory: Path) -> list[Peer]:
    """The contestants called ``names`` that can run here, in that order.

    llama-server takes part if the variable ``LLAMA_SERVER`` names a binary. What the Python peers
    need is installed on first use. Raises ``ValueError`` for an unknown name.
    """
    if unknown := set(names) - set(CONTESTANTS):
        raise ValueError(f"no contestant {unknown.pop()!r}: choose from {', '.join(CONTESTANTS)}")
    peers: list[Peer] = []
    for name in names:
        if name == Pilotlight.name:
            peers.append(Pilotlight())
        elif name in BASELINES:
            if binary := os.environ.get("LLAMA_SERVER"):
                peers.append(LlamaServer(name, binary))
            else:
                print(f"LLAMA_SERVER is not set: no {name}", file=sys.stderr)
        elif name == ExampleServer.name:
            peers.append(ExampleServer(ensure_peer_environment(), config_directory))
        elif name == LlamaCppServer.name:
            peers.append(LlamaCppServer(ensure_peer_environment()))
    return peers
