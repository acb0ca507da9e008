"""Conversations that a shop, its support and a research group might have with a model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A request and its answer, without what the server adds.

    - ``fields``: of the request, besides messages or the prompt.
    - ``prompt``: of a text completion, None for a chat.
    """

    task: str
    messages: Sequence[Message] = ()
    prompt: str | None = None
    answer: str | None = None
    reasoning: str | None = None
    tool_calls: Sequence[Message] = ()
    finish_reason: str = "stop"
    fields: Mapping[str, Any] = field(default_factory=dict)
    has_logprobs: bool = False
    is_incomplete: bool = False


_PRODUCTS = (
    *("walnut desk lamp", "linen curtain", "cast-iron pan", "wool blanket", "oak stool"),
    *("enamel kettle", "rain jacket", "trail backpack", "ceramic planter", "bread knife"),
)
_CITIES = ("Lisbon", "Osaka", "Tromsø", "Nairobi", "Montréal", "Kraków", "Valparaíso", "Ghent")
_SENTIMENTS = ("positive", "neutral", "negative")

ORDER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_order",
        "description": "Look up an order and its shipment.",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}},
            "required": ["order_id"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
_SUPPORT = {
    "role": "system",
    "content": "You are the support desk of a home-goods shop. Be brief, friendly and exact.",
}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _call(rng: Random, name: str, arguments: Mapping[str, Any]) -> Message:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{rng.getrandbits(48):012x}", "type": "function", "function": function}


def _order_question(rng: Random) -> tuple[str, Message]:
    order = f"A-{rng.randrange(10_000, 99_999)}"
    asked = rng.choice(
        (
            f"Hi, where is my order {order}? It was due on Tuesday.",
            f"Order {order} shows as shipped but the tracking page is empty.",
            f"Can I still change the address of {order}?",
        )
    )
    return order, _user(asked)


def order_lookup(rng: Random) -> Conversation:
    """A question that the model calls a tool for."""
    order, question = _order_question(rng)
    return Conversation(
        task="order-status",
        messages=[_SUPPORT, question],
        tool_calls=[_call(rng, "get_order", {"order_id": order})],
        finish_reason="tool_calls",
        fields={"tools": [ORDER_TOOL]},
    )


def order_answer(rng: Random) -> Conversation:
    """The same with the tool's result and the answer."""
    order, question = _order_question(rng)
    city, product = rng.choice(_CITIES), rng.choice(_PRODUCTS)
    call = _call(rng, "get_order", {"order_id": order})
    found = {
        "order_id": order,
        "items": [product],
        "status": "in transit",
        "last_scan": {"place": city, "at": "06:42"},
        "expected": "tomorrow before 18:00",
    }
    return Conversation(
        task="order-status",
        messages=[
            _SUPPORT,
            question,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(found)},
        ],
        answer=(
            f"Your {product} (order {order}) is on its way: it was scanned in {city} at 06:42 "
            "today and should reach you tomorrow before 18:00. I'm sorry about the delay. "
            "Would you like a text message when the courier is near?"
        ),
        fields={"tools": [ORDER_TOOL]},
    )


def review_sentiment(rng: Random) -> Conversation:
    """A classification with a JSON schema."""
    product, sentiment = rng.choice(_PRODUCTS), rng.choice(_SENTIMENTS)
    opinion = {
        "positive": "Exactly as pictured, and it feels like it will outlive me.",
        "neutral": "It does what it should. Delivery took a while.",
        "negative": "Arrived with a dent, and nobody answers my mails.",
    }[sentiment]
    schema = {
        "type": "object",
        "properties": {
            "sentiment": {"enum": list(_SENTIMENTS)},
            "product": {"type": "string"},
            "needs_reply": {"type": "boolean"},
        },
        "required": ["sentiment", "product", "needs_reply"],
        "additionalProperties": False,
    }
    answer = {"sentiment": sentiment, "product": product, "needs_reply": sentiment == "negative"}
    return Conversation(
        task="review-sentiment",
        messages=[
            {"role": "system", "content": "Classify the review."},
            _user(f"Review of the {product}: {opinion}"),
        ],
        answer=json.dumps(answer),
        fields={
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "review", "strict": True, "schema": schema},
            },
        },
    )


def yes_or_no(rng: Random) -> Conversation:
    """A short answer with log probabilities."""
    product = rng.choice(_PRODUCTS)
    answer = rng.choice(("Yes, it is.", "No, hand wash only.", "Yes, on the top shelf."))
    return Conversation(
        task="product-question",
        messages=[_user(f"Is the {product} dishwasher-safe? Answer in one sentence.")],
        answer=answer,
        fields={"logprobs": True, "top_logprobs": 3, "temperature": 0.2},
        has_logprobs=True,
    )


def summary(rng: Random) -> Conversation:
    """A document and its summary, in Markdown."""
    city = rng.choice(_CITIES)
    pages = " ".join(
        f"Section {n}: interviews with {rng.randrange(12, 40)} residents of {city} about how they "
        f"heat, cool and light their homes, and what they would change first."
        for n in range(1, rng.randrange(5, 14))
    )
    share = rng.randrange(41, 78)
    return Conversation(
        task="summaries",
        messages=[
            {"role": "system", "content": "Summarise for a busy reader. Use Markdown."},
            _user(f"Summarise this report.\n\n{pages}"),
        ],
        answer=(
            f"## Homes in {city}\n\n"
            f"- **{share} %** would replace windows before anything else.\n"
            "- Heating bills matter more than comfort, except to families with small children.\n"
            "- Almost nobody knows which subsidies there are.\n\n"
            f"*Open question:* why {city} differs so much from the national survey."
        ),
        fields={"max_completion_tokens": 400},
    )


def estimate(rng: Random) -> Conversation:
    """A question that is reasoned about."""
    boxes, each = rng.randrange(12, 60), rng.randrange(6, 24)
    lost = rng.randrange(2, 9)
    return Conversation(
        task="estimates",
        messages=[
            _user(
                f"A pallet holds {boxes} boxes with {each} kettles each. {lost} boxes were "
                "damaged. How many kettles can be sold?"
            )
        ],
        reasoning=(
            f"{boxes} boxes minus {lost} damaged ones leaves {boxes - lost} boxes. "
            f"With {each} kettles each that is {boxes - lost} x {each} = {(boxes - lost) * each}."
        ),
        answer=f"{(boxes - lost) * each} kettles can be sold.",
        fields={"reasoning_effort": "low"},
    )


def translation(rng: Random) -> Conversation:
    """A text in scripts of several directions."""
    product = rng.choice(_PRODUCTS)
    language, answer = rng.choice(
        (
            ("Portuguese", "Fica bem tanto no quarto como na secretária."),
            ("Arabic", "هذا مناسب لغرفة النوم وللمكتب أيضًا."),
            ("French", "Il convient aussi bien à la chambre qu'au bureau."),
            ("Greek", "Ταιριάζει και στην κρεβατοκάμαρα και στο γραφείο."),
        )
    )
    return Conversation(
        task="translations",
        messages=[_user(f"Translate into {language}: The {product} suits bedroom and desk alike.")],
        answer=answer,
        fields={"temperature": 0.3},
    )


def code_review(rng: Random) -> Conversation:
    """An answer with code; one in three was cut off by its limit."""
    is_cut = rng.random() < 0.34
    code = (
        "The loop reads the whole file for each line. Read it once:\n\n```python\n"
        'with open(path, encoding="utf-8") as lines:\n'
        "    totals = Counter(line.split(',')[2] for line in lines)\n```\n"
    )
    rest = "\nThat is linear, and `Counter.most_common(3)` replaces the sort at the end."
    return Conversation(
        task="code-review",
        messages=[
            {"role": "system", "content": "Review the change. Name one problem, and its fix."},
            _user(
                "```python\nfor i in range(n):\n    row = open(path).readlines()[i]\n    ...\n```"
            ),
        ],
        answer=code if is_cut else code + rest,
        finish_reason="length" if is_cut else "stop",
        fields={"max_completion_tokens": 60 if is_cut else 300},
    )


def story(rng: Random) -> Conversation:
    """A stream whose client left before its end."""
    city = rng.choice(_CITIES)
    return Conversation(
        task="stories",
        messages=[_user(f"Tell me a bedtime story that happens in {city}.")],
        answer=f"Once, when the last tram of {city} had gone home, a small lamp in the window",
        fields={"stream": True, "temperature": 1.1},
        is_incomplete=True,
    )


def product_text(rng: Random) -> Conversation:
    """A text completion."""
    product = rng.choice(_PRODUCTS)
    return Conversation(
        task="product-texts",
        prompt=f"Product: {product}\nDescription:",
        answer=f" A {product} for people who keep things. Made in small batches, repaired free.",
        fields={"max_tokens": 60, "stop": ["\n"]},
    )


KINDS: Sequence[tuple[Callable[[Random], Conversation], int]] = (
    (order_lookup, 16),
    (order_answer, 18),
    (review_sentiment, 18),
    (yes_or_no, 10),
    (summary, 10),
    (estimate, 8),
    (translation, 8),
    (code_review, 7),
    (story, 2),
    (product_text, 9),
)
"""Conversations, and how many of a hundred are of that kind."""


def logprobs(rng: Random, text: str) -> dict[str, Any]:
    """Log probabilities of a chat's tokens, which are taken to be words here."""
    content = []
    for token in _tokens(text):
        chance = rng.choice((0.99, 0.97, 0.92, 0.81, 0.6, 0.41))
        others = [token.upper(), f"{token}s", "…"]
        top = [_logprob(token, chance)]
        top += [_logprob(other, (1 - chance) / (2 + i)) for i, other in enumerate(others[:2])]
        content.append({**top[0], "top_logprobs": top})
    return {"content": content, "refusal": None}


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def _logprob(token: str, chance: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(chance), "bytes": list(token.encode())}
