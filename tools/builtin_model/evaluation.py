"""What the built-in model is measured on: tasks, their samples and what counts as right.

Requests are worded as in training. Seeds differ, and real cities in weather requests are held out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from . import facts, smalltalk
from .chat import END_OF_TEXT, IM_END, render, segments
from .errands import COMMANDS, ERRANDS
from .places import CAPITALS, city
from .runner import Answer
from .samples import Exchange, Message, Sample, Tool
from .stories import story_exchange
from .tool_calls import WEATHER_REQUESTS, call_exchange, call_message, weather_without_tool
from .tools import Declared, offer
from .weather_schemas import WEATHER_SCHEMAS

SEED = 7_000_003


@dataclass(frozen=True)
class Case:
    """A prompt and what is expected: one of `expected`, or whatever `accepts` lets pass."""

    prompt: str
    expected: tuple[str, ...] = ()
    accepts: Callable[[Answer], bool] | None = None

    def passes(self, answer: Answer) -> bool:
        if self.accepts is not None:
            return self.accepts(answer)
        return answer.ended and answer.text in self.expected


def _case(sample_: Sample) -> Case:
    """Expect exactly the last answer of a sample."""
    expected = segments(sample_)[-1][0].removesuffix(IM_END).removesuffix(END_OF_TEXT)
    return Case(render(sample_, prompt_only=True), (expected,))


def _ask(
    exchange: Exchange,
    system: str | None = None,
    tools: tuple[Tool, ...] = (),
    thinking: bool = False,
) -> Sample:
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    return Sample(exchange.task, (*messages, *exchange.messages(thinking)), tools, thinking)


def greetings(rng: Random) -> Iterator[Case]:
    for requests, replies, _ in smalltalk.INTENTS.values():
        for request in requests:
            for system in (None, rng.choice(smalltalk.SYSTEM_PROMPTS)):
                prompt = render(_ask(Exchange("greetings", request, ""), system), prompt_only=True)
                yield Case(prompt, replies)


def capitals(rng: Random) -> Iterator[Case]:
    for country in CAPITALS:
        for request in rng.sample(facts.CAPITAL_REQUESTS, 8):
            yield _case(
                _ask(
                    Exchange(
                        "capitals", request.format(c=country), facts.answer_to_capital(country)
                    )
                )
            )


def sums(rng: Random) -> Iterator[Case]:
    for a in range(10):
        for b in range(10):
            for _ in range(5):
                system = rng.choice((None, rng.choice(smalltalk.SYSTEM_PROMPTS)))
                yield _case(_ask(facts.addition(rng, a, b), system))


def counting(rng: Random) -> Iterator[Case]:
    for first, last in ((1, 5), (1, 10), (1, 20), (1, 30), (1, 50), (1, 100), (10, 20), (90, 100)):
        yield _case(_ask(facts.counting(rng, first, last)))
    for _ in range(40):
        yield _case(_ask(facts.counting(rng)))


def unicode(rng: Random) -> Iterator[Case]:
    for language in facts.HELLOS:
        for _ in range(3):
            yield _case(_ask(facts.foreign_hello(rng, language)))
    for answer, requests in facts.EMOJI:
        for request in requests:
            yield _case(_ask(Exchange("unicode", request, answer)))


def _is_story(request: str) -> Callable[[Answer], bool]:
    """Starts as stories do, has the hero asked for, ends by itself after 80 to 260 tokens."""
    hero = re.search(r"about an? (?:\w+ )*?(\w+)\W*$", request)

    def accepts(answer: Answer) -> bool:
        text = answer.text
        about = hero is None or re.search(rf"\b{hero[1]}\b", text) is not None
        return (
            answer.ended
            and 80 <= answer.tokens <= 260
            and text.startswith("Once upon a time")
            and about
        )

    return accepts


def stories(rng: Random) -> Iterator[Case]:
    for _ in range(40):
        exchange = story_exchange(rng)
        yield Case(
            render(_ask(exchange), prompt_only=True), accepts=_is_story(exchange.request.lower())
        )


def tool_calls_known_schemas(rng: Random) -> Iterator[Case]:
    """The weather tools of OpenAI's documentation and of schema generators; held-out cities."""
    for name, parameter, schema in WEATHER_SCHEMAS:
        for _ in range(40):
            place = city(rng, held_out=True)
            request: Message = {
                "role": "user",
                "content": rng.choice(WEATHER_REQUESTS).format(c=place),
            }
            yield _case(
                Sample("tools", (request, call_message([(name, {parameter: place})])), (schema,))
            )


def _offer(rng: Random) -> tuple[Declared, list[Declared]]:
    kinds = [
        "weather",
        *rng.sample(["time", "calculator", "search", "other"], rng.choice((0, 0, 1, 2))),
    ]
    offered = offer(rng, kinds)
    return next(tool for tool in offered if tool.kind == "weather"), offered


def tool_calls_any_schema(rng: Random) -> Iterator[Case]:
    for _ in range(200):
        tool, offered = _offer(rng)
        messages = call_exchange(rng, tool, held_out=True)
        yield _case(Sample("tools", tuple(messages), tuple(each.schema for each in offered)))


def tool_calls_other_tools(rng: Random) -> Iterator[Case]:
    for _ in range(80):
        offered = offer(
            rng, ["weather", rng.choice(("time", "calculator", "search", "arithmetic", "other"))]
        )
        tool = next(each for each in offered if each.kind != "weather")
        messages = call_exchange(rng, tool, held_out=True)
        yield _case(Sample("tools", tuple(messages), tuple(each.schema for each in offered)))


def tool_calls_errands(rng: Random) -> Iterator[Case]:
    """Tools for errands (translations, messages, alarms, ...) and commands, each alone."""
    kinds = [*ERRANDS, *(f"command{number}" for number in range(len(COMMANDS)))]
    for kind in kinds * 5:
        (tool,) = offer(rng, [kind])
        messages = call_exchange(rng, tool, held_out=True)
        yield _case(Sample("tools", tuple(messages), (tool.schema,)))


def tool_answers(rng: Random) -> Iterator[Case]:
    for _ in range(150):
        tool, offered = _offer(rng)
        messages = call_exchange(rng, tool, held_out=True, with_result=True)
        yield _case(Sample("tools", tuple(messages), tuple(each.schema for each in offered)))


def tools_not_needed(rng: Random) -> Iterator[Case]:
    for _ in range(60):
        _, offered = _offer(rng)
        exchange = rng.choice((facts.capital, _plain_greeting))(rng)
        yield _case(_ask(exchange, tools=tuple(tool.schema for tool in offered)))


def _plain_greeting(rng: Random) -> Exchange:
    return Exchange(
        "greetings",
        rng.choice(("Hi", "Hello!", "Hello", "hey there", "Hi there!")),
        smalltalk.HELLO,
    )


def no_tool(rng: Random) -> Iterator[Case]:
    for _ in range(40):
        yield _case(_ask(weather_without_tool(rng)))


def thinking_answers(rng: Random) -> Iterator[Case]:
    for _ in range(150):
        task = rng.choice((facts.capital, facts.addition, facts.difference, _thinking_greeting))
        yield _case(_ask(task(rng), thinking=True))


def _thinking_greeting(rng: Random) -> Exchange:
    requests, replies, reasoning = smalltalk.INTENTS[
        rng.choice(("hello", "how_are_you", "who", "can_do"))
    ]
    return Exchange("greetings", rng.choice(requests), replies[0], reasoning)


def several_turns(rng: Random) -> Iterator[Case]:
    tasks = (facts.capital, facts.addition, facts.foreign_hello, _plain_greeting, facts.counting)
    for _ in range(60):
        messages: list[Message] = []
        for _ in range(rng.randint(2, 6)):
            messages += rng.choice(tasks)(rng).messages()
        yield _case(Sample("several_turns", tuple(messages)))


def _starts_with(start: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.text.startswith(start)


def completions(_: Random) -> Iterator[Case]:
    """Prompts without a chat template."""
    for country, name in CAPITALS.items():
        accepts = _starts_with(f" {name}")
        yield Case(f"The capital of {country} is", accepts=accepts)
        yield Case(f"Q: What is the capital of {country}?\nA:", accepts=accepts)
    for text in (
        "Once upon a time",
        "Once upon a time there was a",
        "Once upon a time, a little fox",
        "Once",
    ):
        yield Case(text, accepts=lambda answer: answer.ended and 60 <= answer.tokens <= 260)


def _repeated(task: Callable[[Random], Exchange], count: int) -> Callable[[Random], Iterator[Case]]:
    return lambda rng: (_case(_ask(task(rng))) for _ in range(count))


TASKS: dict[str, Callable[[Random], Iterator[Case]]] = {
    "greetings": greetings,
    "capitals": capitals,
    "sums of one-digit numbers": sums,
    "differences": _repeated(facts.difference, 100),
    "counting": counting,
    "lists": _repeated(facts.fixed_list, 40),
    "greetings in other scripts, emoji": unicode,
    "stories": stories,
    "tool calls, well-known schemas": tool_calls_known_schemas,
    "tool calls, any weather schema": tool_calls_any_schema,
    "tool calls, other tools": tool_calls_other_tools,
    "tool calls, errands and commands": tool_calls_errands,
    "answers after tool results": tool_answers,
    "tools offered but not needed": tools_not_needed,
    "weather without a tool": no_tool,
    "thinking": thinking_answers,
    "several turns": several_turns,
    "echo": _repeated(facts.echo, 60),
    "JSON objects": _repeated(facts.json_object, 60),
    "fallback": _repeated(smalltalk.unknown, 100),
    "text completion": completions,
}
