"""Tools that the built-in model knows how to call, and what it says of their results."""

from __future__ import annotations

from typing import Any

from tests.server import user

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    },
}
STRICT: dict[str, Any] = {
    "type": "function",
    "function": {
        **WEATHER["function"],
        "strict": True,
        "parameters": {**WEATHER["function"]["parameters"], "additionalProperties": False},
    },
}
TIME: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the current time for a location",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
BOSTON = user("What is the weather in Boston?")
TWO_CITIES = user("What's the weather in Paris and Rome?")
SUNNY = '{"temperature": 18, "unit": "celsius", "condition": "sunny"}'
REPORT = "It is 18 degrees Celsius and sunny in Boston."
CALL = ("get_weather", {"location": "Boston"})
