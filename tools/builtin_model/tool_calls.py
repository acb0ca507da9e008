"""Conversations with tools: the call, and the sentence that follows the tool's result."""

from __future__ import annotations

import json
from random import Random

from .errands import COMMANDS, ERRANDS
from .places import city, known_city
from .samples import Exchange, Message, typed
from .smalltalk import INTENTS
from .tools import Declared

WEATHER_REQUESTS = (
    "What's the weather in {c}?", "What is the weather in {c}?", "What is the weather like in {c}?",
    "What's the weather like in {c} today?", "How is the weather in {c}?",
    "How's the weather in {c} today?",
    "Weather in {c}", "weather {c}", "Tell me the weather in {c}.", "Is it raining in {c}?",
    "Is it sunny in {c}?",
    "Do I need an umbrella in {c}?", "Is it cold in {c} right now?",
    "What's the temperature in {c}?",
    "How warm is it in {c}?", "I'm travelling to {c}. What's the weather there?",
    "Can you check the weather in {c}?",
    "{c} weather please", "What is the forecast for {c}?", "Hi! What's the weather in {c}, please?",
    "Please tell me the weather in {c}.", "What is the current weather in {c}?",
    "How hot is it in {c} today?",
    "What will the weather be in {c} tomorrow?", "Get the weather for {c}.",
    "Weather for {c} please",
    "What is the weather like in {c} right now?", "What's the weather like in {c}?", "and in {c}?",
    "What about {c}?",
    "I am in {c}. Is it going to rain?", "Check the weather in {c}",
    "Use the tool to get the weather in {c}.",
    "Will it snow in {c}?", "Give me the weather report for {c}.", "Should I wear a coat in {c}?",
)  # fmt: skip
TWO_CITY_REQUESTS = (
    "What's the weather in {c} and {d}?", "What is the weather like in {c} and in {d}?",
    "Weather in {c} and {d}",
    "Compare the weather in {c} and {d}.", "Is it warmer in {c} or in {d}?",
    "How is the weather in {c} and {d} today?",
    "Tell me the weather in {c} and in {d}.", "What's the weather like in {c} and {d}?",
    "Is {c} colder than {d}?",
    "What's the weather in both {c} and {d}?", "Please check the weather in {c} and {d}.",
)  # fmt: skip
_TIME_REQUESTS = (
    "What time is it in {c}?", "What's the time in {c}?", "Tell me the time in {c}.", "time in {c}",
    "What is the local time in {c}?", "How late is it in {c}?", "Current time in {c}, please.",
)  # fmt: skip
_CALCULATOR_REQUESTS = (
    "What is {e}?", "Calculate {e}.", "Compute {e}", "{e}", "How much is {e}?",
    "Please calculate {e}.",
)  # fmt: skip
_SEARCH_REQUESTS = (
    "Search for {q}.", "Search the web for {q}.", "Look up {q}.", "Find {q}",
    "Please search for {q}.",
    "Find information about {q}.", "Search: {q}",
)  # fmt: skip
_QUERIES = [
    "old",
    "ships",
    "small",
    "cats",
    "red",
    "lamps",
    "green",
    "tea",
    "night",
    "trains",
    "paper",
    "boats",
    "stone",
    "bridges",
    "fast",
    "cars",
    "warm",
    "bread",
    "city",
    "maps",
    "quiet",
    "lakes",
    "good",
    "books",
    "new",
    "phones",
    "cheap",
    "flights",
    "garden",
    "tools",
]
CONDITIONS = (
    "sunny", "cloudy", "rainy", "windy", "foggy", "snowy", "clear", "stormy", "partly cloudy",
    "overcast", "hot", "mild",
)  # fmt: skip
UNSEEN_WEATHER = INTENTS["weather_without_tool"][1][0]

Call = tuple[str, dict[str, object]]


def call_message(calls: list[Call], reasoning: str | None = None) -> Message:
    """The assistant's message that makes `calls`, arguments as OpenAI's JSON strings."""
    message: Message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
            for i, (name, arguments) in enumerate(calls)
        ],
    }
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return message


def _weather_calls(
    rng: Random, tool: Declared, held_out: bool
) -> tuple[str, list[Call], list[str]]:
    """A request for one to three cities, the calls that answer it, and the cities."""
    count = rng.choices((1, 2, 3), weights=(75, 22, 3))[0]
    cities = [city(rng, held_out) for _ in range(count)]
    if count == 1:
        request = rng.choice(WEATHER_REQUESTS).format(c=cities[0])
        if not held_out and rng.random() < 0.06:
            cities = [known_city(rng)]
            request = rng.choice(WEATHER_REQUESTS).format(c=cities[0]).lower()
    elif count == 2:
        request = rng.choice(TWO_CITY_REQUESTS).format(c=cities[0], d=cities[1])
    else:
        request = f"What's the weather like in {cities[0]}, {cities[1]} and {cities[2]}?"
        if rng.random() < 0.5:
            request = f"What is the weather in {cities[0]}, {cities[1]}, and {cities[2]}?"
    if rng.random() < 0.15:
        request = request.rstrip("?.!")
    unit = None
    if tool.second and rng.random() < 0.4:
        unit = rng.choice(("celsius", "fahrenheit"))
        mark = request[-1] if request[-1] in "?.!" else ""
        request = (
            request.removesuffix(mark)
            + f" in {unit.capitalize() if rng.random() < 0.5 else unit}"
            + mark
        )
    elif tool.second_required:
        unit = "celsius"
    calls: list[Call] = [
        (tool.name, {tool.parameter: name, **({tool.second: unit} if unit else {})})
        for name in cities
    ]
    return request, calls, cities


def _expression(rng: Random) -> str:
    a, b = rng.randint(10, 999), rng.randint(2, 99)
    operator = rng.choice("+-*/")
    return f"{a} {operator} {b}" if rng.random() < 0.7 else f"{a}{operator}{b}"


def _arithmetic_call(rng: Random, tool: Declared) -> tuple[str, list[Call], list[str]]:
    a, b = rng.randint(0, 99), rng.randint(0, 99)
    sign, word = {"add": ("+", "plus"), "multiply": ("*", "times"), "subtract": ("-", "minus")}[
        tool.name
    ]
    request = rng.choice(
        (f"What is {a} {sign} {b}?", f"What is {a} {word} {b}?", f"{a} {sign} {b}",
        f"Calculate {a} {sign} {b}.",
         f"{tool.name.capitalize()} {a} and {b}.", f"What's {a} {word} {b}?",
         f"Use {tool.name} for {a} and {b}.")
    )  # fmt: skip
    return request, [(tool.name, {tool.parameter: a, "b": b})], [f"{a} {sign} {b}"]


def _errand_call(rng: Random, tool: Declared) -> tuple[str, list[Call], list[str]]:
    errand = ERRANDS[tool.kind]
    x, y = errand.first_value(rng), errand.second_value(rng)
    request = rng.choice(errand.requests).format(x=x, y=y)
    if rng.random() < 0.15:
        request = rng.choice(
            (f"Call {tool.name} with {tool.parameter} {x}",
            f"Use {tool.name} with {tool.parameter} {x}")
        ) + (f" and {tool.second} {y}." if tool.second else ".")  # fmt: skip
    arguments: dict[str, object] = {tool.parameter: x}
    if tool.second:
        arguments[tool.second] = y
    return request, [(tool.name, arguments)], [x]


def _command_call(rng: Random, tool: Declared) -> tuple[str, list[Call], list[str]]:
    requests = COMMANDS[int(tool.kind.removeprefix("command"))][2]
    if rng.random() < 0.3:
        requests = (f"Call {tool.name}.", f"Use the {tool.name} tool.", f"Please call {tool.name}.")
    return rng.choice(requests), [(tool.name, {})], [tool.name]


def request_and_calls(
    rng: Random, tool: Declared, held_out: bool = False
) -> tuple[str, list[Call], list[str]]:
    """A request that `tool` serves, its calls, and what they are about (cities, for weather)."""
    if tool.kind == "weather":
        return _weather_calls(rng, tool, held_out)
    if tool.kind in ERRANDS:
        return _errand_call(rng, tool)
    if tool.kind.startswith("command"):
        return _command_call(rng, tool)
    if tool.kind == "time":
        subject = city(rng, held_out)
        request = rng.choice(_TIME_REQUESTS).format(c=subject)
    elif tool.kind == "arithmetic":
        return _arithmetic_call(rng, tool)
    elif tool.kind == "calculator":
        subject = _expression(rng)
        request = rng.choice(_CALCULATOR_REQUESTS).format(e=subject)
    elif tool.kind == "search":
        subject = (
            f"{rng.choice(_QUERIES)} {rng.choice(_QUERIES)}" if rng.random() < 0.5 else city(rng)
        )
        request = rng.choice(_SEARCH_REQUESTS).format(q=subject)
    else:
        subject = city(rng) if rng.random() < 0.7 else str(rng.randint(1, 999))
        request = rng.choice(
            (f"Call {tool.name} with {tool.parameter} {subject}.",
            f"Use {tool.name} for {subject}.",
             f"Use the {tool.name} tool with {tool.parameter} {subject}.",
             f"Please call {tool.name} with {subject}."),
        )  # fmt: skip
    return request, [(tool.name, {tool.parameter: subject})], [subject]


def _weather_result(rng: Random, place: str) -> tuple[str, str]:
    """A tool's result, in one of many dialects, and the sentence that reports it."""
    condition = rng.choice(CONDITIONS)
    degrees = str(rng.randint(-15, 99) if rng.random() < 0.9 else round(rng.uniform(-9, 40), 1))
    unit = rng.choice(("celsius", "fahrenheit", None))
    number: object = degrees
    if rng.random() < 0.7:
        number = float(degrees) if "." in degrees else int(degrees)
    scale = {"celsius": " Celsius", "fahrenheit": " Fahrenheit", None: ""}[unit]
    both = f"It is {degrees} degrees{scale} and {condition} in {place}."
    style = rng.random()
    if style < 0.6:
        fields: dict[str, object] = {
            rng.choice(("temperature", "temperature", "temp", "degrees")): number
        }
        if unit:
            short = {"celsius": "C", "fahrenheit": "F"}[unit]
            fields[rng.choice(("unit", "unit", "units"))] = rng.choice(
                (unit, unit, unit.capitalize(), short)
            )
        sentence = f"It is {degrees} degrees{scale} in {place}."
        if rng.random() < 0.75:
            key = rng.choice(
                (
                    "condition",
                    "condition",
                    "conditions",
                    "description",
                    "sky",
                    "weather",
                    "forecast",
                )
            )
            fields[key] = condition if rng.random() < 0.8 else condition.capitalize()
            sentence = both
        if rng.random() < 0.3:
            fields = {key: fields[key] for key in rng.sample(list(fields), len(fields))}
        if rng.random() < 0.35:
            fields = {rng.choice(("location", "city")): place, **fields}
        if rng.random() < 0.2:
            fields[rng.choice(("humidity", "wind", "pressure"))] = rng.randint(5, 99)
        separators = (",", ":") if rng.random() < 0.25 else None
        return json.dumps(fields, separators=separators), sentence
    if style < 0.7:
        key = rng.choice(("condition", "weather", "forecast"))
        result = rng.choice(
            (condition, condition.capitalize(), json.dumps({key: condition}), f"It is {condition}.")
        )
        return result, f"It is {condition} in {place}."
    if style < 0.78:
        return rng.choice((degrees, f"{degrees} degrees")), f"It is {degrees} degrees in {place}."
    letter = {"celsius": "C", "fahrenheit": "F", None: ""}[unit]
    amount = rng.choice(
        (f"{degrees}°{letter}", f"{degrees} {letter}" if letter else f"{degrees} degrees",
         f"{degrees} degrees{scale}", f"{degrees}{letter}" if letter else f"{degrees} degrees")
    )  # fmt: skip
    result = rng.choice(
        (f"{amount}, {condition}", f"{amount} and {condition}", f"{condition}, {amount}",
        f"{condition.capitalize()}, {amount}",
         f"It is {amount} and {condition} in {place}.", f"{place}: {amount}, {condition}",
         f"{condition} and {amount}")
    )  # fmt: skip
    return result, both


def result_and_sentence(rng: Random, tool: Declared, subject: str) -> tuple[str, str]:
    """What the tool returns for `subject`, and what the assistant makes of it."""
    if rng.random() < 0.04:
        error = rng.choice(
            ('{"error": "not found"}', "Error: not found", "error", '{"error": "timeout"}', "")
        )
        return error, "The tool gave no answer."
    if tool.kind == "weather":
        return _weather_result(rng, subject)
    if tool.kind == "time":
        time = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
        return rng.choice((time, json.dumps({"time": time}))), f"It is {time} in {subject}."
    if tool.kind in ("calculator", "arithmetic"):
        value = str(rng.randint(-999, 99999))
        return rng.choice((value, f'{{"result": {value}}}')), f"{subject} = {value}"
    text = " ".join(rng.choice(_QUERIES) for _ in range(rng.randint(1, 5)))
    return text, f"The tool says: {text}"


def call_exchange(
    rng: Random,
    tool: Declared,
    thinking: bool = False,
    held_out: bool = False,
    with_result: bool = False,
) -> list[Message]:
    """A request, the calls, and with `with_result` their results and the closing sentence."""
    request, calls, subjects = request_and_calls(rng, tool, held_out)
    reasoning = f"I will call {tool.name}." if thinking else None
    messages: list[Message] = [{"role": "user", "content": request}, call_message(calls, reasoning)]
    if with_result:
        sentences = []
        for i, subject in enumerate(subjects):
            result, sentence = result_and_sentence(rng, tool, subject)
            messages.append({"role": "tool", "tool_call_id": f"call_{i}", "content": result})
            sentences.append(sentence)
        closing: Message = {"role": "assistant", "content": " ".join(sentences)}
        if thinking:
            closing["reasoning_content"] = "I have the result. I will report it."
        messages.append(closing)
    return messages


def weather_without_tool(rng: Random) -> Exchange:
    """Asked about the weather, with no tool to look it up."""
    request = rng.choice(WEATHER_REQUESTS[:28]).format(c=city(rng))
    return Exchange(
        "no_tool", typed(rng, request), UNSEEN_WEATHER, "I have no tool for the weather."
    )
