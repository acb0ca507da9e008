"""Demonstration data for the dashboard: three projects and 500 completions of every kind.

``python tools/dashboard_demo.py DIRECTORY`` fills a directory, prints an admin key, and
``pilotlight serve --accounts true --data-dir DIRECTORY`` serves it. Always the same but for keys,
times and ids.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.accounts.accounts import Accounts, open_accounts
from shared.accounts.audit_log import Actor
from shared.storage.base import CompletionStore
from shared.storage.location import open_store
from shared.storage.types import StoredCompletion

N_COMPLETIONS = 500
PROJECTS = ("Shop assistant", "Support inbox", "Research notes")
_DAYS = 14
_MODELS = ("qwen2.5-7b-instruct", "llama-3.1-8b", "claude-sonnet", "gpt-4.1-mini")
_HOSTS = {"claude-sonnet": "api.anthropic.com", "gpt-4.1-mini": "api.openai.com"}
_DOLLARS = {"claude-sonnet": 9e-6, "gpt-4.1-mini": 1.2e-6}

_EXCHANGES = (
    (
        "Which of these lamps fits a room with a low ceiling?",
        "A flush-mounted one keeps the height: of the three only the *Halo 32*. The other two "
        "hang 60 cm or more.",
        "shop",
    ),
    (
        "Write a title for a blog post on growing tomatoes on a balcony.",
        "Sun, Pot, Tomato: a Small Harvest above the Street",
        "titles",
    ),
    (
        "Summarize this thread in three sentences for somebody who was on holiday.",
        "The launch moved to the 14th, since the payment provider had not signed off. Marta takes "
        "over the release notes. Nothing is expected of you before Thursday.",
        "summaries",
    ),
    (
        "Is this review positive, negative or mixed? 'Came late, but works well.'",
        "mixed",
        "labels",
    ),
    (
        "Translate to Portuguese: 'Your parcel leaves our warehouse tomorrow.'",
        "A sua encomenda sai do nosso armazém amanhã.",
        "translation",
    ),
    (
        "Explain the difference between a mutex and a semaphore to a new colleague.",
        "A mutex is a key to one room: whoever holds it is alone inside, and only the holder can "
        "give it back. A semaphore counts free seats: several may be inside, and anybody may free "
        "one.",
        "docs",
    ),
    (
        "¿Puedo devolver un pedido después de 30 días?",
        "Sí, hasta 60 días si el embalaje está intacto. El envío de vuelta corre por su cuenta.",
        "support",
    ),
    (
        "ما هي أوقات العمل في فرع القاهرة؟",
        "من الأحد إلى الخميس، من التاسعة صباحًا حتى السادسة مساءً.",
        "support",
    ),
    (
        "What did the 2019 study find about sleep and memory?",
        "Those who slept within three hours of learning recalled 22 % more words a week later. "
        "The sample was small: 48 students.",
        "research",
    ),
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who stores: a project and one of its keys."""

    tenant: str
    key_id: str


def fill(
    accounts: Accounts, store: CompletionStore, n: int = N_COMPLETIONS, now: float | None = None
) -> str:
    """Make projects, keys and ``n`` completions that end ``now``; returns an admin key."""
    chance = random.Random(16)
    senders = []
    for name in PROJECTS:
        project = accounts.projects.create(Actor(), name)
        for key_name in ("production", "staging"):
            account = accounts.service_accounts.create(Actor(), project.id, key_name, role="member")
            key, _ = accounts.keys.issue(Actor(), key_name, account)
            senders.append(Sender(project.id, key.id))
    end = time.time() if now is None else now
    for number in range(n):
        age = (n - number) / n * _DAYS * 86400 * chance.uniform(0.97, 1)
        store.put(_completion(chance, chance.choice(senders), end - age))
    return accounts.keys.issue(Actor(), "dashboard demonstration", None)[1]


def _completion(chance: random.Random, sender: Sender, at: float) -> StoredCompletion:
    make: Callable[[random.Random], dict[str, Any]] = chance.choices(
        (_plain, _tools, _reasoning, _logprobs, _image, _schema, _text, _refusal),
        weights=(46, 12, 10, 10, 4, 8, 8, 2),
    )[0]
    made = make(chance)
    kind = made.pop("kind", "chat")
    model = chance.choices(_MODELS, weights=(5, 3, 2, 2))[0]
    prompt, answered = chance.randint(20, 900), chance.randint(3, 420)
    prefix = "chatcmpl" if kind == "chat" else "cmpl"
    completion_id = f"{prefix}-{int(at * 1000):012x}{chance.randbytes(8).hex()}"
    reason = made.pop("finish_reason", None) or chance.choices(("stop", "length"), (12, 1))[0]
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": answered,
        "total_tokens": prompt + answered,
        "prompt_tokens_details": {"cached_tokens": prompt // 64 * 32},
        "cost": round((prompt / 4 + answered) * _DOLLARS.get(model, 2e-7), 9),
    }
    choices = made.pop("choices")
    for index, choice in enumerate(choices):
        choice |= {"index": index, "finish_reason": reason}
        choice.setdefault("logprobs", None)
    decode = answered / chance.uniform(25, 90)
    return StoredCompletion(
        id=completion_id,
        kind=kind,
        tenant=sender.tenant,
        created=int(at),
        model=model,
        request={"model": model, "store": True, "temperature": 0.7, **made["request"]},
        response={"id": completion_id, "choices": choices, "usage": usage},
        used={"seed": chance.getrandbits(31), "temperature": 0.7, "top_p": 1.0},
        request_id=f"req_{chance.randbytes(16).hex()}",
        metadata=made.get("metadata", {}),
        timings={
            "total_seconds": decode + prompt / 2000 + 0.01,
            "queue_seconds": 0.01,
            "prefill_seconds": prompt / 2000,
            "decode_seconds": decode,
        },
        user=chance.choice((None, None, "visitor-81", "visitor-204")),
        key_id=sender.key_id,
        is_incomplete=chance.random() < 0.02,
        served_by=_HOSTS.get(model),
    )


def _said(text: str | None, **fields: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text, **fields}}


def _plain(chance: random.Random) -> dict[str, Any]:
    question, answer, task = chance.choice(_EXCHANGES)
    messages = [
        {"role": "system", "content": "You are a helpful assistant. Be brief."},
        {"role": "user", "content": question},
    ]
    if chance.random() < 0.3:
        messages += [
            {"role": "assistant", "content": answer},
            {"role": "user", "content": "Shorter, please, and without jargon."},
        ]
    n = 2 if chance.random() < 0.05 else 1
    return {
        "request": {"messages": messages, "max_completion_tokens": 400, "n": n},
        "choices": [_said(answer) for _ in range(n)],
        "metadata": {"task": task, "version": chance.choice(("v1", "v2"))},
    }


def _tools(chance: random.Random) -> dict[str, Any]:
    city = chance.choice(("Lisbon", "Nairobi", "Osaka"))
    call = {
        "id": "call_71",
        "type": "function",
        "function": {"name": "get_weather", "arguments": json.dumps({"city": city, "days": 2})},
    }
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    about = "The forecast for a city"
    tool = {"name": "get_weather", "description": about, "parameters": schema}
    asked = [{"role": "user", "content": f"Do I need an umbrella in {city} tomorrow?"}]
    request = {"tools": [{"type": "function", "function": tool}], "tool_choice": "auto"}
    metadata = {"task": "assistant", "tools": "weather"}
    if chance.random() < 0.4:
        choices = [_said(None, tool_calls=[call])]
        request["messages"] = asked
        return {
            "request": request,
            "choices": choices,
            "metadata": metadata,
            "finish_reason": "tool_calls",
        }
    request["messages"] = [
        *asked,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_71", "content": '{"rain": 0.82, "high": 17}'},
    ]
    answer = f"Yes: there is an 82 % chance of rain in {city} tomorrow, at 17 °C."
    return {"request": request, "choices": [_said(answer)], "metadata": metadata}


def _reasoning(_: random.Random) -> dict[str, Any]:
    thought = (
        "A bat and a ball cost 1.10 together. If the ball is x, the bat is x + 1.00, so "
        "2x + 1.00 = 1.10, and x = 0.05. Checking: 0.05 + 1.05 = 1.10."
    )
    question = "A bat and a ball cost $1.10. The bat costs $1 more than the ball. And the ball?"
    return {
        "request": {
            "messages": [{"role": "user", "content": question}],
            "reasoning_effort": "medium",
        },
        "choices": [_said("**5 cents.** The bat then costs $1.05.", reasoning_content=thought)],
        "metadata": {"task": "riddles"},
    }


def _logprobs(chance: random.Random) -> dict[str, Any]:
    words = [
        "The",
        " capital",
        " of",
        " Australia",
        " is",
        " Canberra",
        ",",
        " not",
        " Sydney",
        ".",
    ]
    content = []
    for word in words:
        probability = chance.choice((0.999, 0.97, 0.88, 0.61, 0.34))
        others = [(word, probability), (" Sydney", (1 - probability) * 0.7), (" a", 0.004)]
        top = [{"token": t, "logprob": math.log(p), "bytes": list(t.encode())} for t, p in others]
        content.append({**top[0], "top_logprobs": top})
    question = {"role": "user", "content": "What is the capital of Australia?"}
    return {
        "request": {"messages": [question], "logprobs": True, "top_logprobs": 3},
        "choices": [_said("".join(words)) | {"logprobs": {"content": content, "refusal": None}}],
        "metadata": {"task": "geography", "evaluation": "calibration"},
    }


def _image(_: random.Random) -> dict[str, Any]:
    pixel = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGNk+M/AwMDAxAADC"
        "gAJAgEDlYwVGQAAAABJRU5ErkJggg=="
    )
    parts = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": pixel}},
        {
            "type": "image_url",
            "image_url": {"url": "https://example.com/lamp.jpg", "detail": "low"},
        },
    ]
    return {
        "request": {"messages": [{"role": "user", "content": parts}]},
        "choices": [_said("Four coloured squares, and a lamp on a desk.")],
        "metadata": {"task": "vision"},
    }


def _schema(_: random.Random) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    named = {"name": "contact", "strict": True, "schema": schema}
    question = "Extract the contact: 'Call Ada Lovelace at +44 20 7946 0018.'"
    answer = '{"name": "Ada Lovelace", "phone": "+44 20 7946 0018"}'
    return {
        "request": {
            "messages": [{"role": "user", "content": question}],
            "response_format": {"type": "json_schema", "json_schema": named},
        },
        "choices": [_said(answer)],
        "metadata": {"task": "extraction", "pipeline": "crm"},
    }


def _text(_: random.Random) -> dict[str, Any]:
    return {
        "kind": "text",
        "request": {"prompt": "Once upon a time, a small lamp", "max_tokens": 60},
        "choices": [{"text": " stood on a windowsill and waited for the evening, which was late."}],
        "metadata": {"task": "stories"},
    }


def _refusal(_: random.Random) -> dict[str, Any]:
    return {
        "request": {"messages": [{"role": "user", "content": "Write a phishing mail to my boss."}]},
        "choices": [_said(None, refusal="I can't help with that. I can help you spot one.")],
        "metadata": {"task": "support"},
    }


def main() -> None:
    """Fill the directory that the command line names."""
    parser = argparse.ArgumentParser(description="Fill a directory with demonstration data.")
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    store = open_store("sqlite", directory)
    assert store is not None
    with closing(store), closing(open_accounts("sqlite", directory)) as accounts:
        print(fill(accounts, store))


if __name__ == "__main__":
    main()
