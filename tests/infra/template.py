"""template.yaml, read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": "REGION",
    "AWS::StackName": "STACK",
    "Table": "TABLE",
    "Bucket": "BUCKET",
    "Table.Arn": "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE",
    "Bucket.Arn": "arn:aws:s3:::BUCKET",
}
"""What references to what AWS makes become, as infra/iam spells them."""

_OTHER_ENDPOINTS = ("IsHttpApi", "IsFunctionUrl")
_VARIABLE = re.compile(r"\$\{([\w.:]+)\}")


def read() -> dict[str, Any]:
    """The template with the long forms of all functions (``Fn::Sub`` for ``!Sub``), loops expanded."""
    from cfnlint.decode import decode  # type: ignore[import-untyped]  # takes a second

    template, problems = decode(str(ROOT / "template.yaml"))
    assert not problems
    plain: dict[str, Any] = json.loads(json.dumps(template))
    return {**plain, "Resources": expand(plain["Resources"])}


def expand(resources: dict[str, Any]) -> dict[str, Any]:
    """``resources`` with those of each ``Fn::ForEach`` in its place."""
    found: dict[str, Any] = {}
    for name, resource in resources.items():
        if not name.startswith("Fn::ForEach::"):
            assert name not in found
            found[name] = resource
            continue
        identifier, values, body = resource
        for value in values:
            made = _with_value(body, identifier, value)
            assert not made.keys() & found
            found |= made
    return found


def _with_value(part: Any, identifier: str, value: str) -> Any:
    """Part of a loop's body with ``value`` for its identifier, as AWS::LanguageExtensions has it.

    In keys, in texts of ``Fn::Sub``, and for a ``Ref`` to the identifier. ``Fn::Sub`` is the text
    itself where nothing else is to be put into it: so `Ref` may have one that makes a name.
    """
    if isinstance(part, list):
        return [_with_value(item, identifier, value) for item in part]
    if not isinstance(part, dict):
        return part
    match part:
        case {"Ref": name} if name == identifier:
            return value
        case {"Fn::Sub": str(text)}:
            text = text.replace(f"${{{identifier}}}", value)
            return {"Fn::Sub": text} if "${" in text else text
    return {
        key.replace(f"${{{identifier}}}", value): _with_value(item, identifier, value)
        for key, item in part.items()
    }


def of_type(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """The properties of all resources of a type, by name."""
    return {
        name: resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def text(value: Any) -> str:
    """A text of joined parts with the names of its references as they stand: ``${Table}``."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(text(part) for part in parts)
        case {"Fn::If": [_, then, _]}:
            return text(then)
        case {"Fn::Sub": found}:
            return str(found)
    return str(value)


def resolve(value: Any, names: dict[str, str]) -> Any:
    """``value`` with its references replaced; `KeyError` for unknown names.

    Conditions hold, except for those of endpoints that are not the default.
    """
    if isinstance(value, list):
        return [resolve(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": name}:
            return names[name]
        case {"Fn::GetAtt": [name, attribute]}:
            return names[f"{name}.{attribute}"]
        case {"Fn::Sub": str(text)}:
            return _VARIABLE.sub(lambda found: names[found[1]], text)
        case {"Fn::Sub": [text, more]}:
            return resolve({"Fn::Sub": text}, {**names, **resolve(more, names)})
        case {"Fn::If": [condition, then, otherwise]}:
            return resolve(otherwise if condition in _OTHER_ENDPOINTS else then, names)
        case {"Fn::Select": [index, items]}:
            return resolve(items, names)[int(index)]
        case {"Fn::Split": [separator, text]}:
            return resolve(text, names).split(separator)
    return {key: resolve(item, names) for key, item in value.items()}
