"""JSON Schemas of all kinds that answers and arguments have to follow."""

from __future__ import annotations

from typing import Any

SHORT = {"type": "string", "maxLength": 10}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": -99, "maximum": 99}, "y": DIGIT},
    "required": ["x", "y"],
    "additionalProperties": False,
}

SCHEMAS: dict[str, dict[str, Any]] = {
    "nested objects": {
        "type": "object",
        "properties": {
            "who": {
                "type": "object",
                "properties": {"name": SHORT, "home": POINT},
                "required": ["name", "home"],
                "additionalProperties": False,
            },
            "alive": {"type": "boolean"},
        },
        "required": ["who", "alive"],
        "additionalProperties": False,
    },
    "optional properties": {
        "type": "object",
        "properties": {"a": SHORT, "b": POINT, "c": {"type": "null"}, "d": {"type": "boolean"}},
        "required": ["b"],
        "additionalProperties": False,
    },
    "arrays": {"type": "array", "items": POINT, "minItems": 2, "maxItems": 4},
    "arrays of arrays": {
        "type": "array",
        "items": {"type": "array", "items": DIGIT, "minItems": 1, "maxItems": 3},
        "minItems": 1,
        "maxItems": 3,
    },
    "tuples": {
        "type": "array",
        "prefixItems": [DIGIT, {"type": "boolean"}, SHORT],
        "items": False,
        "minItems": 3,
    },
    "enums of all types": {
        "enum": ["yes", "no", 7, -1.5, None, True, {"a": [1]}, ["b"], "", '"\\']
    },
    "constants": {
        "type": "object",
        "properties": {"kind": {"const": "lamp"}, "state": {"const": {"on": True}}},
        "required": ["kind", "state"],
        "additionalProperties": False,
    },
    "any of": {"anyOf": [POINT, DIGIT, SHORT, {"type": "null"}]},
    "all of": {
        "allOf": [
            {
                "type": "object",
                "properties": {"a": DIGIT, "b": True},
                "required": ["a"],
                "additionalProperties": False,
            },
            {"properties": {"a": {"minimum": 5}, "b": SHORT}, "required": ["b"]},
        ]
    },
    "several types": {"type": ["integer", "null", "boolean", "string"], "maxLength": 5},
    "references": {
        "$defs": {"point": POINT, "line": {"type": "array", "items": {"$ref": "#/$defs/point"}}},
        "type": "object",
        "properties": {"line": {"$ref": "#/$defs/line", "maxItems": 3}},
        "required": ["line"],
        "additionalProperties": False,
    },
    "recursion": {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "leaf": {"enum": ["a", "b"]},
                    "branch": {"$ref": "#/$defs/tree"},
                },
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/tree",
    },
    "recursion to the root": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
        "additionalProperties": False,
    },
    "patterns": {
        "type": "object",
        "properties": {
            "phone": {"type": "string", "pattern": r"^\(\d{3}\) \d{3}-\d{4}$"},
            "colour": {"type": "string", "pattern": "^#([0-9a-f]{3}){1,2}$"},
            "word": {"type": "string", "pattern": r'^(ab|"|\\|é){1,6}$'},
            "part": {"type": "string", "pattern": "b{2}", "maxLength": 8},
        },
        "required": ["phone", "colour", "word", "part"],
        "additionalProperties": False,
    },
    "formats": {
        "type": "array",
        "prefixItems": [
            {"type": "string", "format": "email", "maxLength": 20},
            {"type": "string", "format": "uuid"},
            {"type": "string", "format": "ipv4"},
        ],
        "items": False,
        "minItems": 3,
    },
    "ranges of integers": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "integer", "minimum": -12, "maximum": 107},
                {"type": "integer", "exclusiveMinimum": 999, "exclusiveMaximum": 1002},
                {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 700},
            ]
        },
        "minItems": 3,
        "maxItems": 5,
    },
    "ranges of numbers": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "number", "minimum": -0.5, "maximum": 2.25},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-3},
            ]
        },
        "minItems": 2,
        "maxItems": 3,
    },
    "lengths": {
        "type": "array",
        "items": {"type": "string", "minLength": 3, "maxLength": 6},
        "minItems": 2,
        "maxItems": 2,
    },
    "unicode keys and values": {
        "type": "object",
        "properties": {
            "größe": {"enum": ["kleiner", "größer", "naïve 🔥"]},
            "城市": {"enum": ["北京", "東京"]},
            'a "quoted"\\key\n': {"const": "tab\tnul\u0000é"},
            "": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["größe", "城市", 'a "quoted"\\key\n', ""],
        "additionalProperties": False,
    },
    "additional properties": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}},
        "required": ["a"],
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 99},
        "maxProperties": 3,
    },
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^n_[a-z]{1,4}$": DIGIT, "^s_[a-z]{1,4}$": SHORT},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 3,
    },
    "one of": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": kind}, "size": value},
                "required": ["kind", "size"],
                "additionalProperties": False,
            }
            for kind, value in (("lamp", SHORT), ("torch", {"type": "integer"}))
        ]
    },
    "a format that is a remark": {
        "type": "object",
        "properties": {"p": {"type": "string", "format": "password", "maxLength": 8}},
        "required": ["p"],
        "additionalProperties": False,
    },
    "a union whose tag has a default": {
        "type": "object",
        "properties": {
            "pet": {
                "oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
                "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/A"}},
            }
        },
        "required": ["pet"],
        "additionalProperties": False,
        "$defs": {
            name: {
                "type": "object",
                "properties": {
                    "kind": {"const": name.lower(), "default": name.lower(), "type": "string"},
                    "n": DIGIT,
                },
                "required": ["n"],
                "additionalProperties": False,
            }
            for name in "AB"
        },
    },
    "anything": {},
}
PERSON = {
    "type": "object",
    "properties": {"name": SHORT, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
