"""AWS::LanguageExtensions' parameters: their values in place of references to them.

On AWS the transform "resolves parameters to literal values during processing". Conditions are
resolved with them, since they depend on parameters alone.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/transform-aws-languageextensions.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Values:
    """The values of a template's parameters, and which of its conditions hold with them."""

    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        defaults = {name: each.get("Default") for name, each in template["Parameters"].items()}
        self._values = {name: str(value) for name, value in {**defaults, **parameters}.items()}
        self._conditions = template["Conditions"]

    def resolve(self, part: Any) -> Any:
        """Part of a template; what is not known before a deployment stays as it is."""
        match part:
            case {"Ref": str(name)} if name in self._values:
                return self._values[name]
            case {"Fn::If": [str(name), then, otherwise]}:
                return self.resolve(then if self._holds({"Condition": name}) else otherwise)
            case {"Fn::Sub": str(text)}:
                return self._substitute(text)
            case {"Fn::Sub": [str(text), dict(more)]}:
                return {"Fn::Sub": [self._substitute(text)["Fn::Sub"], self.resolve(more)]}
            case dict():
                return {key: self.resolve(item) for key, item in part.items()}
            case list():
                return [self.resolve(item) for item in part]
        return part

    def _substitute(self, text: str) -> dict[str, str]:
        return {"Fn::Sub": _VARIABLE.sub(lambda each: self._values.get(each[1], each[0]), text)}

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Condition": str(name)}:
                return self._holds(self._conditions[name])
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": list(several)}:
                return all(map(self._holds, several))
            case {"Fn::Or": list(several)}:
                return any(map(self._holds, several))
            case {"Fn::Equals": [left, right]}:
                left, right = self.resolve(left), self.resolve(right)
                return str(left) == str(right)
        raise AssertionError(condition)
