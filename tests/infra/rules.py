"""Evaluator of the Rules of a template: which parameters CloudFormation would refuse, and with what.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refusals(rules: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """Descriptions of the assertions that do not hold; ``values``: of parameters and ``AWS::Region``.

    Raises `ValueError` for what the section Rules does not have, and `KeyError` for a name that is
    no parameter's.
    """
    return [
        assertion["AssertDescription"]
        for rule in rules.values()
        if _value(rule.get("RuleCondition", True), values)
        for assertion in rule["Assertions"]
        if not _value(assertion["Assert"], values)
    ]


def _value(expression: Any, values: Mapping[str, str]) -> Any:
    if isinstance(expression, list):
        return [_value(item, values) for item in expression]
    match expression:
        case {"Ref": name}:
            return values[name]
        case {"Fn::Equals": pair}:
            first, second = _value(pair, values)
            return first == second
        case {"Fn::Not": [condition]}:
            return not _value(condition, values)
        case {"Fn::And": conditions} if 2 <= len(conditions) <= 10:
            return all(_value(conditions, values))
        case {"Fn::Or": conditions} if 2 <= len(conditions) <= 10:
            return any(_value(conditions, values))
        case {"Fn::Contains": [items, text]}:
            return _value(text, values) in _value(items, values)
        case str() | bool():
            return expression
    raise ValueError(f"no function of rules: {expression}")
