"""Tools as callers declare them: names, descriptions and several libraries' schema dialects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from .errands import COMMANDS, ERRANDS
from .samples import Tool


@dataclass(frozen=True)
class ToolKind:
    """A kind of tool and the ways in which callers describe it.

    `parameters` maps the possible names of its one main parameter to that parameter's descriptions.
    """

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    parameters: dict[str, tuple[str, ...]]


_PLACE = (
    "The city", "City name", "The name of the city", "The city to look up", "A city or town",
    "City and country",
    "The city and state, e.g. San Francisco, CA", "City and country e.g. Bogota, Colombia",
    "The location to check",
    "The city name, e.g. Paris", "The place", "Where", "The city to get the weather for",
    "Name of the city.",
)  # fmt: skip

KINDS: dict[str, ToolKind] = {
    "weather": ToolKind(
        (
            "get_weather", "get_current_weather", "weather", "current_weather", "fetch_weather",
            "weather_lookup",
            "getWeather", "check_weather", "get_forecast", "GetWeather", "weather_forecast",
            "lookup_weather",
            "get_weather_forecast", "query_weather", "get_temperature", "forecast",
            "getCurrentWeather", "weather_api",
            "read_weather", "weather_tool",
        ),
        (
            "Get the weather", "Get the weather.", "Get the current weather in a given location",
            "Weather of a city.",
            "Get current temperature for a given location.",
            "Returns the current weather for a city.",
            "Get the weather in a city.", "Look up the weather forecast.",
            "Get the weather for a location.",
            "Determine weather in my location", "Get the current weather",
            "Fetch the weather for a place.",
            "Get the current weather of a city", "Current weather for a location.",
            "Get weather information for a city.",
            "Use this to get the weather in a city.",
        ),
        dict.fromkeys(("location", "location", "city", "place", "town", "city_name", "where",
        "query", "loc"), _PLACE),
    ),
    "time": ToolKind(
        ("get_time", "current_time", "get_current_time", "clock", "time_in_city", "getTime",
        "local_time"),
        ("Get the time", "Get the current time in a city.", "Returns the local time.",
        "What time it is in a place.",
         "Get the current time for a location", "Tell the time in a city."),
        {"location": _PLACE[:8], "city": _PLACE[:8], "place": _PLACE[:8], "timezone": ("The city",
        "The timezone")},
    ),
    "calculator": ToolKind(
        ("calculator", "calculate", "evaluate", "compute", "math", "do_math"),
        ("Calculate an expression.", "Evaluate a mathematical expression", "Do arithmetic.",
        "A calculator.",
         "Computes the value of an expression."),
        {"expression": ("The expression", "e.g. 12 * 7", "What to compute"),
        "input": ("The expression",),
         "formula": ("The formula",)},
    ),
    "arithmetic": ToolKind(
        ("add", "multiply", "subtract"),
        ("Arithmetic",),
        {"a": ("first number", "first int", "First integer")},
    ),
    "search": ToolKind(
        ("search", "web_search", "search_web", "lookup", "find_documents", "search_docs"),
        ("Search the web.", "Search for documents", "Look something up.",
        "Find information on the web.", "Web search"),
        {"query": ("The search query", "What to search for", "Search terms"),
        "text": ("The search text",),
         "q": ("The query",)},
    ),
    "other": ToolKind(
        ("send_email", "get_stock_price", "translate", "set_alarm", "create_event", "get_news",
        "play_music", "roll_dice",
         "book_flight", "open_door", "turn_on_light", "save_note", "get_user", "list_files",
         "run_query"),
        ("Send a message.", "Get the price of a stock.", "Translate a text.", "Set an alarm.",
        "Create an event.",
         "Get the news.", "Play music.", "Open a door.", "Save a note.", "Get a user.",
         "Run a query."),
        {"name": ("The name",), "text": ("The text",), "symbol": ("The symbol",), "id": ("The id",),
        "value": ("A value",),
         "title": ("The title",)},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """A declared tool and what a call of it needs to know.

    `second` is the parameter beside the main one: a weather tool's unit, an arithmetic tool's other
    number, an errand's other value. `parameter` is empty where the tool takes none.
    """

    kind: str
    name: str
    parameter: str
    second: str
    second_required: bool
    schema: Tool


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def _field(rng: Random, name: str, descriptions: Sequence[str], dialect: str) -> Tool:
    """The schema of a text parameter."""
    field: Tool = {"type": "string"}
    if dialect == "pydantic":
        first = rng.random() < 0.7
        field = {"title": _title(name), **field} if first else {**field, "title": _title(name)}
    if descriptions and rng.random() < 0.65:
        text = rng.choice(descriptions)
        field = (
            {**field, "description": text} if rng.random() < 0.8 else {"description": text, **field}
        )
    if dialect == "zod" and rng.random() < 0.1:
        field["minLength"] = 1
    return field


_UNIT_TEXTS = (
    "The unit of temperature", "Temperature unit", "Units", "celsius or fahrenheit",
    "The temperature unit to use. Infer this from the users location.",
)  # fmt: skip


def _unit(rng: Random, dialect: str) -> dict[str, Tool]:
    """A weather tool's unit."""
    name = rng.choices(("unit", "units", "format", "scale"), weights=(6, 2, 1, 1))[0]
    unit: Tool = {"type": "string", "enum": ["celsius", "fahrenheit"]}
    if dialect == "pydantic" and rng.random() < 0.5:
        unit = {"default": "celsius", **unit, "title": _title(name)}
    elif dialect == "pydantic" and rng.random() < 0.3:
        unit = {"anyOf": [unit, {"type": "null"}], "default": None, "title": _title(name)}
    elif dialect == "zod" and rng.random() < 0.2:
        unit["default"] = "celsius"
    if rng.random() < 0.25:
        unit["description"] = rng.choice(_UNIT_TEXTS)
    return {name: unit}


def _second_field(rng: Random, kind: str, dialect: str) -> dict[str, Tool]:
    """The parameter beside the main one, or nothing."""
    if kind == "arithmetic":
        number = rng.choices(("integer", "number"), weights=(3, 1))[0]
        return {"b": {"title": "B", "type": number} if dialect == "pydantic" else {"type": number}}
    if kind in ERRANDS and ERRANDS[kind].second:
        errand = ERRANDS[kind]
        name = rng.choice(errand.second)
        field = _field(rng, name, [f"The {name.replace('_', ' ')}"], dialect)
        if errand.enum and rng.random() < 0.7:
            field["enum"] = list(errand.enum)
        return {name: field}
    if kind != "weather" or rng.random() > 0.3:
        return {}
    return _unit(rng, dialect)


_DRAFTS = (
    "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema#",
)  # fmt: skip


def _object(
    rng: Random, name: str, properties: dict[str, Tool], required: list[str], dialect: str
) -> Tool:
    """The schema of all parameters, as a dialect writes it.

    "zod" is what zod, zod-to-json-schema and the `ai` SDK make, "strict" what OpenAI's strict mode
    asks for, "pydantic" what pydantic makes of a model or of a function's signature.
    """
    if not properties and dialect != "zod":
        return rng.choice(
            (
                {"type": "object", "properties": {}},
                {"type": "object", "properties": {}, "required": []},
                {"type": "object", "properties": {}, "additionalProperties": False},
                {"properties": {}, "title": name, "type": "object"},
            )
        )
    parameters: Tool = {"type": "object", "properties": properties}
    if required or rng.random() < 0.2:
        parameters["required"] = required
    if dialect == "pydantic" and rng.random() < 0.5:
        parameters = {"properties": properties, "required": required, "type": "object"}
        if rng.random() < 0.5:
            title = rng.choice((name, f"{name}_args", f"{name}Arguments"))
            parameters["title"] = title
            if rng.random() < 0.3:
                parameters = {"properties": properties, "required": required}
                parameters |= {"title": title, "type": "object"}
        if rng.random() < 0.15:
            parameters = {"description": f"The arguments of {name}.", **parameters}
    elif rng.random() < 0.1 and dialect == "plain":
        parameters.pop("required", None)
    if dialect in ("strict", "zod") or rng.random() < 0.1:
        parameters["additionalProperties"] = False
    if dialect == "zod" and rng.random() < 0.85:
        draft = {"$schema": rng.choice(_DRAFTS)}
        parameters = {**draft, **parameters} if rng.random() < 0.5 else {**parameters, **draft}
    return parameters


def _function(rng: Random, kind: str, description: str, name: str, parameters: Tool) -> Tool:
    """A function around the schema of its parameters, its keys in one of several orders."""
    function: Tool = {"name": name, "description": description, "parameters": parameters}
    order = rng.random()
    if order < 0.15:
        function = {"description": description, "name": name, "parameters": parameters}
    elif order < 0.25 and kind != "other":
        function = {"name": name, "parameters": parameters}
    elif order < 0.33:
        function = {"name": name, "parameters": parameters, "description": description}
    if not parameters.get("properties") and rng.random() < 0.3:
        function.pop("parameters")
    return function


def _names(rng: Random, kind: str) -> tuple[str, str]:
    """A name for a tool of `kind` and its description."""
    if kind in ERRANDS:
        return rng.choice(ERRANDS[kind].names), rng.choice(ERRANDS[kind].descriptions)
    if kind.startswith("command"):
        names, descriptions, _ = COMMANDS[int(kind.removeprefix("command"))]
        return rng.choice(names), rng.choice(descriptions)
    name = rng.choice(KINDS[kind].names)
    if kind == "other" and rng.random() < 0.4:
        name = f"{rng.choice(_VERBS)}_{rng.choice(_NOUNS)}"
    if kind == "arithmetic":
        return name, f"{name.capitalize()} two {rng.choice(('integers', 'numbers'))}."
    return name, rng.choice(KINDS[kind].descriptions)


def _main_field(rng: Random, kind: str, dialect: str) -> dict[str, Tool]:
    """The main parameter; nothing for a command."""
    if kind.startswith("command"):
        return {}
    if kind in ERRANDS:
        parameter = rng.choice(ERRANDS[kind].first)
        texts: Sequence[str] = [f"The {parameter.replace('_', ' ')}"]
    else:
        parameter = rng.choice(list(KINDS[kind].parameters))
        texts = KINDS[kind].parameters[parameter]
    return {parameter: _field(rng, parameter, texts, dialect)}


def declare(rng: Random, kind: str) -> Declared:
    """A tool of `kind`, as one of several libraries would declare it."""
    name, description = _names(rng, kind)
    dialect = rng.choices(("plain", "strict", "pydantic", "zod"), weights=(4, 2, 3, 4))[0]
    main = _main_field(rng, kind, dialect)
    parameter = next(iter(main), "")
    second = {
        other: field
        for other, field in _second_field(rng, kind, dialect).items()
        if other != parameter
    }
    if kind == "arithmetic":
        main[parameter]["type"] = second["b"]["type"]
    second_required = kind == "arithmetic" or kind in ERRANDS or rng.random() < 0.25
    properties = {**main, **second}
    required = list(properties) if second_required else list(main)
    parameters = _object(rng, name, properties, required, dialect)
    function = _function(rng, kind, description, name, parameters)
    if dialect in ("strict", "zod") and rng.random() < 0.5:
        strict = rng.choices((True, False), weights=(3, 1))[0]
        # openai-node writes it first, OpenAI's documentation last.
        function = {"strict": strict, **function} if rng.random() < 0.2 else {
            **function, "strict": strict
        }  # fmt: skip
    return Declared(
        kind,
        name,
        parameter,
        next(iter(second), ""),
        second_required and bool(second),
        {"type": "function", "function": function},
    )


_VERBS = ("get", "set", "find", "make", "send", "list", "add", "delete", "read", "write", "start")
_NOUNS = ("user", "order", "file", "note", "price", "ticket", "invoice", "task", "event", "report")


def command(rng: Random) -> str:
    """The kind of one of the tools without parameters."""
    return f"command{rng.randrange(len(COMMANDS))}"


def offer(rng: Random, kinds: list[str]) -> list[Declared]:
    """Tools of the given kinds in random order, each name once."""
    declared: dict[str, Declared] = {}
    for kind in kinds:
        tool = declare(rng, kind)
        declared.setdefault(tool.name, tool)
    offered = list(declared.values())
    rng.shuffle(offered)
    return offered
