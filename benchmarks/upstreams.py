"""What an upstream's modes add to it: time to the first byte, throughput, 200 streams at once.

The same requests to the same fake upstream, straight and through a server without a model of its
own, in turns; all three processes on this machine.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.process import HOST, free_port
from benchmarks.storing import percentile

SUITE = "upstreams"

_REQUESTS = 300
_BYTES = 2**28
_CHUNK = 2**14
_STREAMS = 200
_EVENTS = 50
_PAUSE = 0.05
"""Seconds from one event of a stream to the next: 20 tokens a second."""
_SENT = re.compile(rb'"sent ([0-9.]+)"')
_LARGEST = 2**40


def markdown(rounds: int) -> str:
    """A table with a row for each way."""
    found: dict[str, dict[str, list[float]]] = {}
    with _servers() as (upstream, front):
        ways = {
            "straight": (upstream, "big"),
            "direct mode": (front, "big"),
            "adapter mode": (front, "adapted"),
        }
        for way, (port, model) in ways.items():
            _first_bytes(port, model, 20)
            found[way] = {name: [] for name in ("first", "whole", "chunks", "events")}
        for _ in range(rounds):
            for way, (port, model) in ways.items():
                samples = found[way]
                samples["first"] += _first_bytes(port, model, _REQUESTS)
                if model == "big":
                    samples["whole"].append(_speed(port, bytes=_BYTES))
                    samples["chunks"].append(_speed(port, bytes=_BYTES, chunks=_CHUNK))
                samples["events"] += asyncio.run(_delays(port, model))
    rows = [
        "| | first byte, p50 / p95 ms | MB/s | MB/s in chunks of 16 KiB | an event of 200 streams, "
        "p50 / p95 / p99 ms |",
        "|---|---|---|---|---|",
    ]
    for way, samples in found.items():
        first = " / ".join(f"{percentile(samples['first'], p):.2f}" for p in (50, 95))
        events = " / ".join(f"{percentile(samples['events'], p):.2f}" for p in (50, 95, 99))
        speeds = [
            f"{sorted(samples[name])[rounds // 2]:,.0f}" if samples[name] else ""
            for name in ("whole", "chunks")
        ]
        rows.append(f"| {way} | {first} | {' | '.join(speeds)} | {events} |")
    return "\n".join(["## What upstreams' modes add", "", *rows, ""])


@contextmanager
def _servers() -> Iterator[tuple[int, int]]:
    """The fake upstream and pilotlight in front of it; gives their ports."""
    upstream, front = free_port(), free_port()
    section = {"upstream": f"http://{HOST}:{upstream}/v1", "max_answer_size": _LARGEST}
    models = {"big": {**section, "mode": "direct"}, "adapted": {**section, "mode": "adapter"}}
    options = ("--model", "none", "--models", json.dumps(models), "--port", str(front))
    processes = [
        subprocess.Popen([sys.executable, "-m", "benchmarks.upstream_server", str(upstream)]),
        subprocess.Popen(
            [str(Path(sys.executable).with_name("pilotlight")), "serve", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
    ]
    try:
        for port in (upstream, front):
            _await(port)
        yield upstream, front
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _request(model: str, fields: dict[str, Any]) -> bytes:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    asked = {"model": model, "messages": messages, "stream": True, "user": json.dumps(fields)}
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _first_bytes(port: int, model: str, count: int) -> list[float]:
    """Seconds to the first event of each of ``count`` streams, one after the other."""
    seconds = []
    request = _request(model, {"events": 1})
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            received, first = b"", 0.0
            begun = time.perf_counter()
            connection.sendall(request)
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65536)
                if not first and b"data: " in received:
                    first = time.perf_counter() - begun
            seconds.append(first)
    return seconds


def _speed(port: int, **fields: Any) -> float:
    """Megabytes a second of one answer."""
    buffer = bytearray(2**20)
    with socket.create_connection((HOST, port)) as connection:
        begun = time.perf_counter()
        connection.sendall(_request("big", fields))
        size = 0
        while size < fields["bytes"]:
            received = connection.recv_into(buffer)
            if not received:
                raise RuntimeError("the answer broke off")
            size += received
        return size / 1e6 / (time.perf_counter() - begun)


async def _delays(port: int, model: str) -> list[float]:
    """Seconds that each event of many streams takes from the upstream to the client."""
    streams = await asyncio.gather(*(_stream(port, model) for _ in range(_STREAMS)))
    return [delay for delays in streams for delay in delays]


async def _stream(port: int, model: str) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(_request(model, {"events": _EVENTS, "pause": _PAUSE}))
    delays: list[float] = []
    while len(delays) < _EVENTS:
        line = await reader.readline()
        if not line:
            raise RuntimeError("a stream broke off")
        if found := _SENT.search(line):
            delays.append(time.monotonic() - float(found[1]))
    writer.close()
    return delays
