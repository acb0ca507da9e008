"""Tools as callers declare them: names, descriptions and several libraries' schema dialects."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

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
    """A declared tool and what a call of it needs to know."""

    kind: str
    name: str
    parameter: str
    has_unit: bool
    unit_required: bool
    schema: Tool


def _field(rng: Random, kind: str, parameter: str, dialect: str) -> Tool:
    """The schema of the main parameter."""
    field: Tool = {"type": "string"}
    if dialect == "pydantic":
        title = parameter.replace("_", " ").title()
        first = rng.random() < 0.7
        field = {"title": title, "type": "string"} if first else {"type": "string", "title": title}
    if rng.random() < 0.65:
        text = rng.choice(KINDS[kind].parameters[parameter])
        field = (
            {**field, "description": text} if rng.random() < 0.8 else {"description": text, **field}
        )
    return field


def _second_field(rng: Random, kind: str, dialect: str) -> dict[str, Tool]:
    """The unit of a weather tool, the second number of an arithmetic one, or nothing."""
    if kind == "arithmetic":
        return {
            "b": {"title": "B", "type": "integer"} if dialect == "pydantic" else {"type": "integer"}
        }
    if kind != "weather" or rng.random() > 0.3:
        return {}
    unit: Tool = {"type": "string", "enum": ["celsius", "fahrenheit"]}
    if dialect == "pydantic" and rng.random() < 0.5:
        unit = {"default": "celsius", **unit, "title": "Unit"}
    return {"unit": unit}


def _function(rng: Random, kind: str, name: str, parameters: Tool, dialect: str) -> Tool:
    """A tool around the schema of its parameters."""
    description = rng.choice(KINDS[kind].descriptions)
    if kind == "arithmetic":
        description = f"{name.capitalize()} two {rng.choice(('integers', 'numbers'))}."
    function: Tool = {"name": name, "description": description, "parameters": parameters}
    if rng.random() < 0.15:
        function = {"description": description, "name": name, "parameters": parameters}
    elif rng.random() < 0.12 and kind != "other":
        function = {"name": name, "parameters": parameters}
    if dialect == "strict" and rng.random() < 0.5:
        function["strict"] = rng.choice((True, False))
    return {"type": "function", "function": function}


def declare(rng: Random, kind: str) -> Declared:
    """A tool of `kind`, as one of several libraries would declare it."""
    name = rng.choice(KINDS[kind].names)
    if kind == "other" and rng.random() < 0.4:
        name = f"{rng.choice(_VERBS)}_{rng.choice(_NOUNS)}"
    parameter = rng.choice(list(KINDS[kind].parameters))
    dialect = rng.choices(("plain", "strict", "pydantic"), weights=(5, 2, 3))[0]
    second = _second_field(rng, kind, dialect)
    field = _field(rng, kind, parameter, dialect)
    if kind == "arithmetic":
        field["type"] = "integer"
    properties = {parameter: field, **second}
    second_required = kind == "arithmetic" or ("unit" in second and rng.random() < 0.25)
    required = list(properties) if second_required else [parameter]
    parameters: Tool = {"type": "object", "properties": properties, "required": required}
    if dialect == "pydantic" and rng.random() < 0.5:
        parameters = {"properties": properties, "required": required, "type": "object"}
        if rng.random() < 0.5:
            parameters["title"] = name
    elif rng.random() < 0.1 and not second_required:
        del parameters["required"]
    if dialect == "strict" or rng.random() < 0.1:
        parameters["additionalProperties"] = False
    schema = _function(rng, kind, name, parameters, dialect)
    return Declared(kind, name, parameter, "unit" in second, second_required, schema)


_VERBS = ("get", "set", "find", "make", "send", "list", "add", "delete", "read", "write", "start")
_NOUNS = ("user", "order", "file", "note", "price", "ticket", "invoice", "task", "event", "report")


def offer(rng: Random, kinds: list[str]) -> list[Declared]:
    """Tools of the given kinds in random order, each name once."""
    declared: dict[str, Declared] = {}
    for kind in kinds:
        tool = declare(rng, kind)
        declared.setdefault(tool.name, tool)
    offered = list(declared.values())
    rng.shuffle(offered)
    return offered
