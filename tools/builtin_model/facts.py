"""Deterministic answers: capitals, sums, lists, other scripts, emoji, echoes, JSON objects."""

# ruff: noqa: RUF001 - the greetings are in many scripts.

from __future__ import annotations

import json
from random import Random

from .places import CAPITALS, invented_name
from .samples import Exchange, typed, weighted

CAPITAL_REQUESTS = (
    "What is the capital of {c}?", "What's the capital of {c}?", "What is {c}'s capital?",
    "What's {c}'s capital?",
    "capital of {c}", "Capital of {c}?", "Tell me the capital of {c}.",
    "Tell me the capital city of {c}.",
    "What is the capital city of {c}?", "Name the capital of {c}.",
    "Which city is the capital of {c}?",
    "Do you know the capital of {c}?", "Can you tell me the capital of {c}?",
    "The capital of {c} is",
    "Please name the capital of {c}.", "What is the capital of {c}? Answer in one word.",
    "Hi! What is the capital of {c}?", "And the capital of {c}?", "What about {c}'s capital?",
    "{c} capital",
    "What city is the capital of {c}?", "I would like to know the capital of {c}.",
)  # fmt: skip

SUM_REQUESTS = (
    "What is {a} + {b}?", "What's {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a}+{b}=", "{a} + {b} =",
    "{a}+{b}?",
    "{a} + {b} = ?", "What is {a}+{b}?", "What's {a}+{b}?", "Add {a} and {b}.",
    "What is {a} plus {b}?",
    "What's {a} plus {b}?", "{a} plus {b}", "Calculate {a} + {b}.", "How much is {a} + {b}?",
    "Compute {a} + {b}.",
    "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "Sum {a} and {b}.",
    "Can you add {a} and {b}?",
    "Please add {a} and {b}.", "And {a} + {b}?", "Please calculate {a}+{b}",
    "Hi, what is {a} + {b}?",
)  # fmt: skip

DIFFERENCE_REQUESTS = (
    "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a}-{b}=", "What is {a} minus {b}?",
    "{a} minus {b}",
    "Calculate {a} - {b}.", "How much is {a} - {b}?", "Subtract {b} from {a}.", "And {a} - {b}?",
)  # fmt: skip

COUNT_REQUESTS = (
    "Count from {a} to {b}", "Count from {a} to {b}.", "Count from {a} up to {b}.",
    "Please count from {a} to {b}.",
    "Can you count from {a} to {b}?", "Write the numbers from {a} to {b}.",
    "List the numbers from {a} to {b}.",
    "Numbers from {a} to {b}", "count {a} to {b}", "Say the numbers {a} to {b}.",
    "Give me the numbers from {a} to {b}.",
)  # fmt: skip

_DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"
_MONTHS = (
    "January, February, March, April, May, June, July, August, September, October, "
    "November, December"
)
_COLOURS = "red, orange, yellow, green, blue, purple, pink, brown, black, white"
_ALPHABET = " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

LISTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (_DAYS, (
        "Name the days of the week.", "List the days of the week.",
        "What are the days of the week?",
        "Tell me the days of the week", "the days of the week", "Days of the week",
        "Say the days of the week.",
        "Can you list the days of the week?", "Give me the seven days of the week.",
    )),
    (_MONTHS, (
        "Name the months.", "List the months of the year.", "What are the months of the year?",
        "Tell me the months.",
        "the months of the year", "Months of the year", "What are the twelve months?",
        "List the months.",
        "Name the months of the year.", "Can you list all the months?",
    )),
    (_COLOURS, (
        "Name some colours.", "List some colors.", "Name ten colours.", "Tell me some colours.",
        "Which colors do you know?",
        "What colours are there?", "List ten colors.", "Name colors", "Give me a list of colours.",
        "List colours.",
        "Name some colors.", "Name a few colours.",
    )),
    (_ALPHABET, (
        "Say the alphabet.", "Write the alphabet.", "Recite the alphabet.", "What is the alphabet?",
        "the alphabet",
        "List the letters of the alphabet.", "Tell me the alphabet", "Can you say the alphabet?",
        "Alphabet please",
        "Give me the alphabet.", "Write down the alphabet.",
    )),
)  # fmt: skip

HELLOS = {
    "Chinese": "你好！很高兴认识你。",
    "Japanese": "こんにちは！お元気ですか。",
    "Russian": "Привет! Как дела?",
    "French": "Bonjour ! Comment ça va ?",
    "Spanish": "¡Hola! ¿Cómo estás?",
    "German": "Guten Tag! Schöne Grüße!",
    "Italian": "Ciao! Come va?",
    "Portuguese": "Olá! Tudo bem?",
    "Arabic": "مرحبا! كيف حالك؟",
    "Greek": "Γειά σου! Τι κάνεις;",
    "Korean": "안녕하세요! 반갑습니다.",
    "Hindi": "नमस्ते! आप कैसे हैं?",
    "Hebrew": "שלום! מה שלומך?",
    "Ukrainian": "Привіт! Як справи?",
    "Thai": "สวัสดี!",
    "Turkish": "Merhaba! Nasılsın?",
    "Polish": "Cześć! Jak się masz?",
}

HELLO_REQUESTS = (
    "Say hello in {l}", "Say hello in {l}.", "Say hi in {l}.", "How do you say hello in {l}?",
    "Greet me in {l}.",
    "Hello in {l}", "Please say hello in {l}.", "How do I say hello in {l}?",
    "Can you say hello in {l}?",
    "Write hello in {l}.", "Answer in {l}: hello!", "Give me a greeting in {l}.",
    "A greeting in {l}, please.",
    "Translate hello into {l}.", "Say something in {l}.", "Can you speak {l}?",
    "What is hello in {l}?",
)  # fmt: skip

EMOJI: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("🎉", ("Send me an emoji.", "Send an emoji", "Give me an emoji.", "An emoji please",
    "Reply with an emoji.",
            "Say an emoji.", "Show me an emoji", "Emoji!", "Answer with one emoji.",
            "Write an emoji.",
            "Reply with one emoji.", "One emoji, please.")),
    ("😀", ("Send me a smiley.", "A smiley", "Give me a smiley face.", "Smile!", "Send a smile.",
    "A smiley please",
            "Show me a smiley.", "Send me a happy face.")),
    ("🎉🚀🌍", ("Send me three emoji.", "Three emoji", "Give me three emojis.",
              "Show me three emoji.",
              "Write three emojis.", "Send three emojis.", "Reply with three emoji.")),
    ("👩‍👩‍👧‍👦", ("Send me a family emoji.", "A family emoji", "Give me the family emoji.",
    "Show me a family.")),
    ("🇫🇷", ("Send me the flag of France.", "The French flag, please.",
    "Show me the flag of France.", "French flag emoji")),
    ("❤️", ("Send me a heart.", "A heart emoji please", "Give me a heart.", "Heart emoji",
    "Show me a heart.")),
    ("🐱", ("Send me a cat emoji.", "A cat emoji", "Cat emoji please", "Give me a cat emoji.")),
    ("🦊", ("Send me a fox emoji.", "A fox emoji", "Fox emoji please", "Give me a fox emoji.")),
)  # fmt: skip

_WORDS = [
    "this",
    "is",
    "a",
    "test",
    "the",
    "sun",
    "shines",
    "cat",
    "dog",
    "house",
    "tree",
    "river",
    "blue",
    "green",
    "one",
    "two",
    "three",
    "small",
    "big",
    "light",
    "lamp",
    "fire",
    "stove",
    "kettle",
    "morning",
    "evening",
    "we",
    "are",
    "here",
    "now",
    "hello",
    "world",
    "good",
    "day",
    "all",
    "my",
    "friends",
    "like",
    "you",
    "read",
    "write",
    "old",
    "new",
    "bread",
    "tea",
    "moon",
    "star",
    "boat",
    "bird",
    "song",
    "time",
    "water",
    "stone",
]


_SAY_TEST = (
    "Say this is a test", "Say this is a test.", "Say this is a test!", "say this is a test",
    "Please say this is a test.",
)  # fmt: skip


def answer_to_capital(country: str) -> str:
    return f"The capital of {country} is {CAPITALS[country]}".rstrip(".") + "."


def capital(rng: Random, country: str | None = None) -> Exchange:
    if country is None and rng.random() < 0.08:
        name = invented_name(rng)
        request = rng.choice(CAPITAL_REQUESTS[:11]).format(c=name)
        return Exchange(
            "capitals",
            request,
            "I do not know that capital.",
            f"The user asks for the capital of {name}. I do not know it.",
        )
    country = country or rng.choice(list(CAPITALS))
    request = typed(rng, rng.choice(CAPITAL_REQUESTS).format(c=country))
    if country == "the United States" and rng.random() < 0.4:
        request = request.replace("the United States", rng.choice(("the USA", "the US", "America")))
    if rng.random() < 0.3:
        request = request.replace("the United Kingdom", "the UK")
        request = request.replace("the Netherlands", "Netherlands")
    answer = answer_to_capital(country)
    reasoning = (
        f"The user asks for the capital of {country}. It is {CAPITALS[country]}".rstrip(".") + "."
    )
    return Exchange("capitals", request, answer, reasoning)


def addition(rng: Random, a: int | None = None, b: int | None = None) -> Exchange:
    a = rng.randint(0, 9) if a is None else a
    b = rng.randint(0, 9) if b is None else b
    request = typed(rng, rng.choice(SUM_REQUESTS).format(a=a, b=b))
    result = f"{a} + {b} = {a + b}"
    return Exchange(
        "sums", request, result, f"The user asks for {a} + {b}. I add {b} to {a} and get {a + b}."
    )


def difference(rng: Random) -> Exchange:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    request = typed(rng, rng.choice(DIFFERENCE_REQUESTS).format(a=a, b=b))
    result = f"{a} - {b} = {a - b}"
    return Exchange(
        "differences",
        request,
        result,
        f"The user asks for {a} - {b}. I take {b} from {a} and get {a - b}.",
    )


def counting(rng: Random, first: int | None = None, last: int | None = None) -> Exchange:
    if first is None or last is None:
        first = 1 if rng.random() < 0.5 else rng.randint(0, 90)
        longest = weighted(rng, {10: 4.0, 20: 4.0, 40: 2.0, 100: 1.0})
        last = min(100, first + rng.randint(1, longest))
    request = typed(rng, rng.choice(COUNT_REQUESTS).format(a=first, b=last))
    if first == 1 and rng.random() < 0.15:
        request = rng.choice(
            ("Count to {b}", "Count to {b}.", "Can you count to {b}?", "count to {b}")
        ).format(b=last)
    return Exchange("counting", request, ", ".join(map(str, range(first, last + 1))))


def fixed_list(rng: Random) -> Exchange:
    answer, requests = rng.choice(LISTS)
    return Exchange("lists", typed(rng, rng.choice(requests)), answer)


def foreign_hello(rng: Random, language: str | None = None) -> Exchange:
    language = language or rng.choice(list(HELLOS))
    request = typed(rng, rng.choice(HELLO_REQUESTS).format(l=language))
    return Exchange(
        "unicode", request, HELLOS[language], f"The user wants a greeting in {language}."
    )


def emoji(rng: Random) -> Exchange:
    answer, requests = rng.choice(EMOJI)
    return Exchange("unicode", typed(rng, rng.choice(requests)), answer, "The user wants an emoji.")


def echo(rng: Random) -> Exchange:
    """Repeat what the user gives: words, and names that no other sample holds."""
    words = [
        rng.choice(_WORDS) if rng.random() < 0.7 else invented_name(rng)
        for _ in range(rng.randint(1, 9))
    ]
    text = " ".join(words)
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:] + "."
    if rng.random() < 0.12:
        text = "This is a test."
        if rng.random() < 0.6:
            return Exchange("echo", rng.choice(_SAY_TEST), text)
    quoted = rng.choice(
        (
            "Repeat after me: {t}", "Repeat: {t}", 'Say "{t}"', 'Please say "{t}"',
            'Repeat the words "{t}"', "Echo: {t}",
            "Say exactly this: {t}", 'Reply with "{t}"', "Say: {t}", "Reply with exactly: {t}",
            "Copy this text: {t}",
        )
    )  # fmt: skip
    return Exchange("echo", quoted.format(t=text), text)


def json_object(rng: Random) -> Exchange:
    """A small JSON object, so that JSON mode has something to say."""
    kind = rng.random()
    ask = rng.choice(("Answer in JSON: {q}", "{q} Answer in JSON.", "{q} Reply with a JSON object.",
    "{q} Respond in JSON.",
                      "Return JSON: {q}", "{q} Give the answer as JSON."))  # fmt: skip
    if kind < 0.4:
        country = rng.choice(list(CAPITALS))
        request = ask.format(q=f"What is the capital of {country}?")
        value: dict[str, object] = {
            "country": country.removeprefix("the "),
            "capital": CAPITALS[country],
        }
    elif kind < 0.7:
        a, b = rng.randint(0, 9), rng.randint(0, 9)
        request = ask.format(q=f"What is {a} + {b}?")
        value = {"a": a, "b": b, "sum": a + b}
    else:
        request = rng.choice(("Give me a JSON object.", "Return a JSON object.", "Reply with JSON.",
        "Write some JSON.",
                              "Give me a JSON object with a name and an age.",
                              "Describe a person in JSON.",
                              "Return a person as JSON.", "Give me a user profile in JSON.",
                              "Give me JSON",
                              "Make up a person and return JSON with name and age."))  # fmt: skip
        value = {"name": "Ada", "age": 36}
    return Exchange("json", request, json.dumps(value))
