"""Smoke test of a deployment: ``python3 infra/lambda/smoke.py URL``; needs the standard library.

The URL is the stack's output ``ApiUrl``, which ends with ``/v1``. The key is in the variable
``OPENAI_API_KEY``. Keys in ``REVOKED_API_KEYS``, comma-separated, have to be refused: after a
rotation the only proof that no function still runs with the old settings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

_SECONDS = 180.0
"""More than a cold start and a short answer take."""
_CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
_REFUSALS = (401, 403)


class SmokeTestError(Exception):
    """The deployment does not do what it should; the message says what."""


def main() -> int:
    """Try what is deployed; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").replace("``", ""))
    parser.add_argument("url", nargs="+", help="base URL")
    urls = [url.rstrip("/") for url in parser.parse_args().url]
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        print("set OPENAI_API_KEY to one of the deployment's keys", file=sys.stderr)
        return 2
    revoked = [each for each in os.environ.get("REVOKED_API_KEYS", "").split(",") if each]
    try:
        for url in urls:
            print(url, flush=True)
            _try_key(url, key)
            for each, name in [
                ("not-a-key", "a wrong key"),
                *((k, "a revoked key") for k in revoked),
            ]:
                _try_refusal(url, each, name)
    except SmokeTestError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print("All is well.")
    return 0


def _try_key(url: str, key: str) -> None:
    """List models, chat, stream, and store, read, list and delete; raises `SmokeTestError`."""
    models = _json("models", "GET", f"{url}/models", key)["data"]
    chat = {**_CHAT, "model": models[0]["id"], "max_tokens": 20}
    stored = _json("chat", "POST", f"{url}/chat/completions", key, {**chat, "store": True})
    print(f"    {stored['choices'][0]['message']['content']!r}")
    stream = _expect_ok(
        "streamed chat", "POST", f"{url}/chat/completions", key, {**chat, "stream": True}
    )
    if b"data: [DONE]" not in stream:
        raise SmokeTestError(f"{url}: a streamed answer has no end: {stream[-200:]!r}")
    one = f"{url}/chat/completions/{stored['id']}"
    _json("stored completion", "GET", one, key)
    listed = _json("list of stored completions", "GET", f"{url}/chat/completions?order=desc", key)
    if stored["id"] not in [each["id"] for each in listed["data"]]:
        raise SmokeTestError(f"{url}: {stored['id']} was stored, but is not listed")
    _json("deletion", "DELETE", one, key)


def _try_refusal(url: str, key: str, name: str) -> None:
    """Ask with a key that must not be accepted, a function with the model and one without."""
    for method, path, body in (("GET", "/models", None), ("POST", "/chat/completions", _CHAT)):
        status, _ = _request(method, url + path, key, body)
        if status not in _REFUSALS:
            raise SmokeTestError(f"{method} {url}{path} accepts {name}: status {status}, not 401")
        print(f"  {name} is refused: {method} {path}", flush=True)


def _json(what: str, method: str, url: str, key: str, body: Any = None) -> Any:
    return json.loads(_expect_ok(what, method, url, key, body))


def _expect_ok(what: str, method: str, url: str, key: str, body: Any = None) -> bytes:
    """The body of an answer with status 200, else `SmokeTestError`."""
    started = time.monotonic()
    status, content = _request(method, url, key, body)
    if status != 200:
        raise SmokeTestError(f"{what}: {method} {url}: status {status}: {content[:500]!r}")
    print(f"  {what}: {time.monotonic() - started:.2f} s", flush=True)
    return content


def _request(method: str, url: str, key: str, body: Any = None) -> tuple[int, bytes]:
    """Status and body."""
    request = urllib.request.Request(
        url,
        method=method,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        data=None if body is None else json.dumps(body).encode(),
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        raise SmokeTestError(f"{method} {url}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
