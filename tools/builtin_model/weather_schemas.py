"""Weather tools as well-known clients declare them, for the evaluation only."""

from __future__ import annotations

from .samples import Tool


def _function(
    name: str, parameters: Tool, description: str = "Get the weather", **more: object
) -> Tool:
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters, **more},
    }


_UNIT: Tool = {"type": "string", "enum": ["celsius", "fahrenheit"]}
_STATE: Tool = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
_BOGOTA: Tool = {"type": "string", "description": "City and country e.g. Bogotá, Colombia"}
# (tool name, parameter that takes the city, declaration)
WEATHER_SCHEMAS: tuple[tuple[str, str, Tool], ...] = (
    (
        "get_weather",
        "location",
        _function(
            "get_weather",
            {"type": "object", "properties": {"location": _STATE}, "required": ["location"]},
        ),
    ),
    (
        "get_weather",
        "location",
        _function(
            "get_weather",
            {
                "type": "object",
                "properties": {"location": {"type": "string"}},
                "required": ["location"],
            },
        ),
    ),
    (
        "get_weather",
        "city",
        _function(
            "get_weather",
            {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            "Get the weather in a city.",
        ),
    ),
    (
        "get_weather",
        "location",
        _function(
            "get_weather",
            {
                "type": "object",
                "properties": {"location": _BOGOTA},
                "required": ["location"],
                "additionalProperties": False,
            },
            "Get current temperature for a given location.",
            strict=True,
        ),
    ),
    (
        "get_current_weather",
        "location",
        _function(
            "get_current_weather",
            {
                "type": "object",
                "properties": {"location": _STATE, "unit": _UNIT},
                "required": ["location"],
            },
            "Get the current weather in a given location",
        ),
    ),
    (
        "GetWeather",
        "location",
        _function(
            "GetWeather",
            {
                "properties": {
                    "location": {
                        "description": "The city and state, e.g. San Francisco, CA",
                        "title": "Location",
                        "type": "string",
                    }
                },
                "required": ["location"],
                "title": "GetWeather",
                "type": "object",
            },
            "Get the current weather in a given location",
        ),
    ),
    (
        "get_weather",
        "city",
        _function(
            "get_weather",
            {
                "properties": {"city": {"title": "City", "type": "string"}},
                "required": ["city"],
                "title": "get_weather",
                "type": "object",
                "additionalProperties": False,
            },
            "Get weather information for a city.",
        ),
    ),
)
