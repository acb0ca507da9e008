"""Workarounds: what the emulator of AWS lacks, and what a copy of the template has in its place.

Nothing of this is in template.yaml, and there is no other place for it. docs/deploy-lambda.md has
the same list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.deploy.language_extensions import Values

Template = dict[str, Any]

ADAPTER_ACCOUNT = "753240598075"
"""The account of AWS that publishes the Lambda Web Adapter's layers."""
ADAPTER_NAME = "LambdaAdapterLayerX86"
ADAPTER_VERSION = 30
ADAPTED_HANDLER = "STAND_IN_HANDLER"
"""Variable that tells the stand-in for the adapter what to start."""
STAND_IN = "lambda_web_adapter.handler"


def parameter_references(template: Template, parameters: Mapping[str, str]) -> None:
    """References to parameters: the emulator's AWS::LanguageExtensions leaves them as they are.

    SAM would find the same text as before where a value has changed, and make no new version of a
    function: a key that is gone would be accepted for ever.
    """
    template["Resources"] = Values(template, parameters).resolve(template["Resources"])


def metric_math_alarms(template: Template, parameters: Mapping[str, str]) -> None:
    """Alarms over expressions: the emulator knows alarms of one metric only."""
    for alarm in _of_type(template, "AWS::CloudWatch::Alarm"):
        if alarm["Properties"].pop("Metrics", None):
            alarm["Properties"] |= {
                "Namespace": "AWS/Lambda",
                "MetricName": "Errors",
                "Statistic": "Sum",
                "Period": 60,
            }


def numbers_in_environment(template: Template, parameters: Mapping[str, str]) -> None:
    """Numbers as variables of functions: CloudFormation makes texts of them, the emulator fails."""
    for function in _of_type(template, "AWS::Serverless::Function"):
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        for name, value in variables.items():
            if isinstance(value, int):
                variables[name] = str(value)


def any_method(template: Template, parameters: Mapping[str, str]) -> None:
    """``x-amazon-apigateway-any-method``: the emulator ignores it when it imports a REST API."""
    for body in _bodies(template):
        for path in body["paths"].values():
            if operation := path.pop("x-amazon-apigateway-any-method", None):
                path |= {method: operation for method in _METHODS if method not in path}


def response_streaming(template: Template, parameters: Mapping[str, str]) -> None:
    """Response streaming of a REST API: the emulator's takes whole answers only."""
    for body in _bodies(template):
        for path in body["paths"].values():
            for method in path.keys() & set(_METHODS):
                integration = path[method]["x-amazon-apigateway-integration"]
                if integration.pop("responseTransferMode", None):
                    uri = json.dumps(integration["uri"]).replace("2021-11-15", "2015-03-31")
                    uri = uri.replace("response-streaming-invocations", "invocations")
                    integration["uri"] = json.loads(uri)


def gateway_responses(template: Template, parameters: Mapping[str, str]) -> None:
    """``x-amazon-apigateway-gateway-responses``: the emulator knows them as resources."""
    for api, resource in list(_named(template, "AWS::Serverless::Api")):
        responses = resource["Properties"]["DefinitionBody"].pop(
            "x-amazon-apigateway-gateway-responses", {}
        )
        for kind, response in responses.items():
            name = f"{api}{kind.title().replace('_', '')}Response"
            template["Resources"][name] = {
                "Type": "AWS::ApiGateway::GatewayResponse",
                **{k: v for k, v in resource.items() if k == "Condition"},
                "Properties": {
                    "RestApiId": {"Ref": api},
                    "ResponseType": kind,
                    **{key[0].upper() + key[1:]: value for key, value in response.items()},
                },
            }


def adapter_layer(template: Template, parameters: Mapping[str, str]) -> None:
    """The Lambda Web Adapter: its layer is not to be had, and the emulator starts no wrapper.

    A stand-in in Python is published as that layer, and is the handler. It starts the real one, and
    tells it of requests and snapshots as the adapter does.
    """
    for function in _of_type(template, "AWS::Serverless::Function"):
        properties = function["Properties"]
        variables = properties.get("Environment", {}).get("Variables", {})
        if isinstance(variables.get("AWS_LAMBDA_EXEC_WRAPPER"), str):
            variables[ADAPTED_HANDLER] = properties["Handler"]
            properties["Handler"] = STAND_IN


WORKAROUNDS: tuple[Callable[[Template, Mapping[str, str]], None], ...] = (
    parameter_references,
    metric_math_alarms,
    numbers_in_environment,
    any_method,
    response_streaming,
    gateway_responses,
    adapter_layer,
)


_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


def _named(template: Template, kind: str) -> Iterator[tuple[str, Template]]:
    for name, resource in template["Resources"].items():
        if not name.startswith("Fn::") and resource["Type"] == kind:
            yield name, resource


def _bodies(template: Template) -> Iterator[Template]:
    """The OpenAPI documents of REST APIs."""
    for _, resource in _named(template, "AWS::Serverless::Api"):
        yield resource["Properties"]["DefinitionBody"]


def _of_type(part: Any, kind: str) -> Iterator[Template]:
    """All resources of a type, those in loops and conditions included."""
    if isinstance(part, list):
        for item in part:
            yield from _of_type(item, kind)
    elif isinstance(part, dict):
        if part.get("Type") == kind and "Properties" in part:
            yield part
        else:
            for item in part.values():
                yield from _of_type(item, kind)
