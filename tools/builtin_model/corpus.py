"""The mixture of tasks that the model is trained on."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from . import facts, smalltalk
from .chat import SPECIAL_TOKEN, segments
from .errands import ERRANDS
from .places import CAPITALS, invented_name
from .samples import Exchange, Message, Sample, weighted
from .stories import story, story_exchange
from .tool_calls import call_exchange, weather_without_tool
from .tools import Declared, command, offer

Task = Callable[[Random], Exchange]

PLAIN_TASKS: dict[Task, float] = {
    smalltalk.intent: 17,
    smalltalk.unknown: 9,
    facts.capital: 10,
    facts.addition: 10,
    facts.difference: 4,
    facts.counting: 6,
    facts.fixed_list: 4,
    facts.foreign_hello: 8,
    facts.emoji: 5,
    facts.echo: 7,
    facts.json_object: 4,
    story_exchange: 9,
    weather_without_tool: 4,
}
_THINKING_TASKS: dict[Task, float] = {
    smalltalk.intent: 4,
    smalltalk.unknown: 2,
    facts.capital: 4,
    facts.addition: 5,
    facts.difference: 2,
    facts.foreign_hello: 1,
    facts.emoji: 1,
    story_exchange: 0.6,
    weather_without_tool: 1,
}
_MIXTURE = {"chat": 44.0, "tools": 40.0, "thinking": 8.0, "document": 8.0}


def _system(rng: Random) -> list[Message]:
    if rng.random() < 0.55:
        return []
    role = "developer" if rng.random() < 0.15 else "system"
    return [{"role": role, "content": rng.choice(smalltalk.SYSTEM_PROMPTS)}]


def chat(rng: Random) -> Sample:
    """A conversation without tools: mostly one exchange, sometimes up to twenty."""
    messages = _system(rng)
    turns = weighted(rng, {1: 70, 2: 14, 3: 7, 4: 5, 8: 3, 20: 1})
    for _ in range(turns):
        exchange = weighted(rng, PLAIN_TASKS)(rng)
        messages += exchange.messages()
    return Sample(exchange.task if turns == 1 else "several_turns", tuple(messages))


def _other_kind(rng: Random) -> str:
    """A kind of tool that is not about the weather."""
    group = weighted(rng, {"basic": 50, "errand": 38, "command": 12})
    if group == "errand":
        return rng.choice(list(ERRANDS))
    if group == "command":
        return command(rng)
    return rng.choice(("time", "calculator", "search", "arithmetic", "other", "other"))


def _offered(rng: Random) -> list[Declared]:
    kinds = ["weather"] if rng.random() < 0.75 else [_other_kind(rng)]
    while rng.random() < 0.4 and len(kinds) < 4:
        kinds.append(_other_kind(rng))
    return offer(rng, kinds)


def with_tools(rng: Random) -> Sample:
    """A conversation in which tools are offered and, most of the time, needed."""
    offered = _offered(rng)
    thinking = rng.random() < 0.08
    messages = _system(rng)
    turns = weighted(rng, {1: 75, 2: 18, 3: 7})
    for turn in range(turns):
        last = turn == turns - 1
        if rng.random() < 0.22:
            exchange = _without_need(rng, offered)
            messages += exchange.messages(thinking and last and exchange.reasoning is not None)
            thinking = thinking and exchange.reasoning is not None
        else:
            weather = [tool for tool in offered if tool.kind == "weather"]
            tool = weather[0] if weather and rng.random() < 0.65 else rng.choice(offered)
            with_result = not last or rng.random() < 0.5
            messages += call_exchange(rng, tool, thinking and last, with_result=with_result)
    return Sample("tools", tuple(messages), tuple(tool.schema for tool in offered), thinking)


def _without_need(rng: Random, offered: list[Declared]) -> Exchange:
    """Something to answer plainly although tools are offered."""
    kinds = {tool.kind for tool in offered}
    tasks: dict[Task, float] = {
        smalltalk.intent: 6,
        facts.capital: 4,
        facts.emoji: 0.5,
        facts.foreign_hello: 0.5,
    }
    if not kinds & {"calculator", "arithmetic"}:
        tasks[facts.addition] = 2
    if "weather" not in kinds:
        tasks[weather_without_tool] = 3
    if not kinds & {"search", "news"} and not any(kind.startswith("command") for kind in kinds):
        tasks[smalltalk.unknown] = 2
    return weighted(rng, tasks)(rng)


def thinking(rng: Random) -> Sample:
    """One or two exchanges, the last one answered after reasoning."""
    messages = _system(rng)
    if rng.random() < 0.2:
        messages += weighted(rng, PLAIN_TASKS)(rng).messages()
    messages += weighted(rng, _THINKING_TASKS)(rng).messages(thinking=True)
    return Sample("thinking", tuple(messages), thinking=True)


def document(rng: Random) -> Sample:
    """A text for plain completion: stories, facts, sums, numbers, questions and answers."""
    kind = weighted(
        rng, {"story": 5, "facts": 2, "sums": 1, "numbers": 1, "questions": 2, "lists": 0.5}
    )
    if kind == "story":
        text = story(rng)
    elif kind == "facts":
        text = " ".join(
            facts.answer_to_capital(c) for c in rng.sample(list(CAPITALS), rng.randint(1, 5))
        )
    elif kind == "sums":
        pairs = [(rng.randint(0, 9), rng.randint(0, 9)) for _ in range(rng.randint(1, 8))]
        text = "\n".join(f"{a} + {b} = {a + b}" for a, b in pairs)
    elif kind == "numbers":
        first = rng.choice((0, 1, 1, 1, rng.randint(1, 80)))
        text = ", ".join(map(str, range(first, min(101, first + rng.randint(5, 60)))))
    elif kind == "lists":
        text = rng.choice(facts.LISTS)[0]
    else:
        text = "\n\n".join(_question_and_answer(rng) for _ in range(rng.randint(1, 5)))
    return Sample("document", document=text)


def _question_and_answer(rng: Random) -> str:
    if rng.random() < 0.5:
        country = rng.choice(list(CAPITALS))
        return f"Q: What is the capital of {country}?\nA: {CAPITALS[country]}"
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    return f"Q: What is {a} + {b}?\nA: {a + b}"


def sample(rng: Random) -> Sample:
    """One example of the mixture."""
    kind = weighted(rng, _MIXTURE)
    makers = {"chat": chat, "tools": with_tools, "thinking": thinking, "document": document}
    return makers[kind](rng)


def tokenizer_text(rng: Random, count: int) -> list[str]:
    """ASCII texts from which the tokenizer's merges are learnt, without special tokens.

    Leaving out every other script keeps its characters split into bytes, and adding invented names
    gives the tokenizer the syllables of names that it has not seen.
    """
    texts = []
    for _ in range(count):
        text = "".join(piece for piece, _ in segments(sample(rng)))
        texts += [part for part in SPECIAL_TOKEN.split(text) if part.isascii()]
        texts.append(invented_name(rng))
    return texts
