"""What stands in front of the functions: REST API, HTTP API or function URL, and who gets in."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from functions.dashboard.paths import ROOT
from functions.http.app import create_app
from functions.http.authentication import DOCS_FILES, PUBLIC_PATHS
from functions.http.routing import PostRoute
from shared.config.settings import Settings
from shared.protocol.errors import APIError, accounts_unavailable
from shared.runtime.bearer_token import bearer_token
from shared.runtime.key_cache import _MAX_AGE
from tests.infra.template import of_type, read

TEMPLATE = read()
DEFINITION = of_type(TEMPLATE, "AWS::Serverless::Api")["RestApi"]["DefinitionBody"]
RESPONSES = DEFINITION["x-amazon-apigateway-gateway-responses"]
AUTHORIZER = DEFINITION["components"]["securitySchemes"]["key"]["x-amazon-apigateway-authorizer"]
ANY = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
EVERYTHING = "/{proxy+}"
PUBLIC = {*PUBLIC_PATHS, f"{DOCS_FILES}/{{proxy+}}", ROOT, f"{ROOT}/{{proxy+}}"} - {DOCS_FILES}
PERMISSIONS = of_type(TEMPLATE, "AWS::Lambda::Permission")


def generating() -> set[str]:
    """Paths that need the model, by the app's routes."""
    app = create_app(Settings(store="none"))
    posts = {route.path for route in app.resources().routes if isinstance(route, PostRoute)}
    return {path for path in posts if "{completion_id}" not in path}


def rest_methods() -> dict[tuple[str, str], dict[str, Any]]:
    """The REST API's operations by path and method."""
    return {
        (path, method): operation
        for path, item in DEFINITION["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }


def http_routes() -> dict[str, dict[str, Any]]:
    """The HTTP API's routes by their keys."""
    mappings = TEMPLATE["Mappings"]
    found = {}
    for route in of_type(TEMPLATE, "AWS::ApiGatewayV2::Route").values():
        key = route["RouteKey"]
        if isinstance(key, dict):
            text, names = key["Fn::Sub"]
            mapping, name, attribute = names["Path"]["Fn::FindInMap"]
            key = text.replace("${Path}", mappings[mapping][name][attribute])
        assert key not in found
        found[key] = route
    return found


def test_one_endpoint_is_chosen() -> None:
    """Of all resources in front of the functions those of one kind are made."""
    conditions = {
        "AWS::Serverless::Api": {"IsRestApi"},
        "AWS::ApiGatewayV2::": {"IsHttpApi", "HasDomain", "HasRestDomain", "HasHttpDomain"},
        "AWS::Lambda::Url": {"IsFunctionUrl"},
    }
    for kind, expected in conditions.items():
        found = [each for each in TEMPLATE["Resources"].values() if each["Type"].startswith(kind)]
        assert {each["Condition"] for each in found} == expected
    for name in ("ApiFunction", "AuthorizerFunction"):
        assert TEMPLATE["Resources"][name]["Condition"] == "HasGate"


def test_the_rest_api_routes_by_what_needs_the_model() -> None:
    methods = rest_methods()
    to_model = {
        (path, method)
        for (path, method), each in methods.items()
        if "${InferenceFunction.Arn}:live" in each[INTEGRATION]["uri"]["Fn::Sub"]
    }
    assert to_model == {(path, "post") for path in generating()}
    others = {key: each for key, each in methods.items() if key not in to_model}
    closed = {EVERYTHING, *generating()}
    assert {key for key in others if key[0] not in closed} == {(path, ANY) for path in PUBLIC}
    for path in closed:  # nothing relies on a method's falling through to the greedy path
        assert {method for each, method in others if each == path} == {ANY, "options"}
    for each in others.values():
        assert "${ApiFunction.Arn}/invocations" in each[INTEGRATION]["uri"]["Fn::Sub"]


def test_the_rest_api_streams_completions() -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html"""
    for path in generating():
        integration = rest_methods()[path, "post"][INTEGRATION]
        assert integration["responseTransferMode"] == "STREAM"
        assert integration["timeoutInMillis"] == 900_000
        assert integration["uri"]["Fn::Sub"].endswith("/response-streaming-invocations")
        assert ":path/2021-11-15/" in integration["uri"]["Fn::Sub"]


def test_only_what_is_public_passes_the_rest_api_without_a_key() -> None:
    open_to_all = {key for key, each in rest_methods().items() if "security" not in each}
    preflights = {(path, "options") for path in (EVERYTHING, *generating())}
    assert open_to_all == {*((path, ANY) for path in PUBLIC), *preflights}
    for each in rest_methods().values():
        assert each.get("security", [{"key": []}]) == [{"key": []}]


def test_the_http_api_has_the_same_routes() -> None:
    routes = http_routes()
    guarded = {key for key, each in routes.items() if each["AuthorizationType"] == "CUSTOM"}
    to_model = {
        key
        for key, each in routes.items()
        if each["Target"] == {"Fn::Sub": "integrations/${HttpInferenceIntegration}"}
    }
    assert to_model == {f"POST {path}" for path in generating()}
    assert guarded == {*to_model, "$default"}
    assert set(routes) - guarded == {*(f"ANY {path}" for path in PUBLIC), "OPTIONS /{proxy+}"}
    (authorizer,) = of_type(TEMPLATE, "AWS::ApiGatewayV2::Authorizer").values()
    assert authorizer["IdentitySource"] == ["$request.header.Authorization"]
    assert authorizer["EnableSimpleResponses"] is True


def test_answers_of_the_authorizer_are_kept_as_long_as_keys_are_remembered() -> None:
    """So a key that was revoked stops within 30 s, as everywhere."""
    (http,) = of_type(TEMPLATE, "AWS::ApiGatewayV2::Authorizer").values()
    for seconds in (
        AUTHORIZER["authorizerResultTtlInSeconds"],
        http["AuthorizerResultTtlInSeconds"],
    ):
        assert 0 < seconds <= _MAX_AGE


@pytest.mark.parametrize(
    ("header", "is_checked"),
    [
        ("Bearer sk-pilot-proj-abc", True),
        ("bearer   key  ", True),
        ("BEARER \u00e9", True),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic dXNlcg==", False),
        ("Bearer two words", False),
        ("", False),
        ("Bearer " + "k" * 513, False),
    ],
)
def test_what_can_be_no_key_starts_no_function(header: str, is_checked: bool) -> None:
    """API Gateway refuses what does not match the expression by itself."""
    expression = AUTHORIZER["identityValidationExpression"]
    assert (re.fullmatch(expression, header) is not None) == is_checked
    if is_checked:
        assert bearer_token(header.encode())


def test_api_gateway_may_call_these_functions_alone() -> None:
    others = ("*", "events.amazonaws.com")
    by_gateway = [each for each in PERMISSIONS.values() if each["Principal"] not in others]
    assert len(by_gateway) == 6
    for each in by_gateway:
        assert each["Principal"] == "apigateway.amazonaws.com"
        assert each["Action"] == "lambda:InvokeFunction"
        source = each["SourceArn"]["Fn::Sub"]
        assert re.search(r":\$\{(RestApi|HttpApi)\}/", source)
        if "Authorizer" in each["FunctionName"]["Ref"]:
            assert source.endswith("/authorizers/*")
    functions = {each["FunctionName"]["Ref"] for each in PERMISSIONS.values()}
    assert functions == {"InferenceFunctionAliaslive", "ApiFunction", "AuthorizerFunction"}


def test_no_endpoint_lets_more_requests_pass_than_is_said() -> None:
    limits = {
        "ThrottlingRateLimit": {"Ref": "ThrottlingRateLimit"},
        "ThrottlingBurstLimit": {"Ref": "ThrottlingBurstLimit"},
    }
    (settings,) = of_type(TEMPLATE, "AWS::Serverless::Api")["RestApi"]["MethodSettings"]
    assert settings == {"HttpMethod": "*", "ResourcePath": "/*", **limits}
    (stage,) = of_type(TEMPLATE, "AWS::ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"] == limits


@pytest.mark.parametrize("name", RESPONSES)
def test_errors_of_the_rest_api_have_the_envelope(name: str) -> None:
    text = RESPONSES[name]["responseTemplates"]["application/json"]
    error = json.loads(text.replace("$context.error.messageString", '"text"'))["error"]
    assert list(error) == list(APIError(400, "text").envelope()["error"])
    assert error["message"]
    assert error["code"]


@pytest.mark.parametrize(
    ("name", "status", "type", "code"),
    [
        ("ACCESS_DENIED", 401, "authentication_error", "invalid_api_key"),
        ("UNAUTHORIZED", 401, "authentication_error", "invalid_api_key"),
        ("THROTTLED", 429, "rate_limit_error", "rate_limit_exceeded"),
        ("AUTHORIZER_FAILURE", 503, "server_error", accounts_unavailable().code),
        ("MISSING_AUTHENTICATION_TOKEN", 404, "invalid_request_error", "unknown_url"),
    ],
)
def test_errors_of_the_rest_api_are_the_servers(
    name: str, status: int, type: str, code: str
) -> None:
    response = RESPONSES[name]
    error = json.loads(response["responseTemplates"]["application/json"])["error"]
    assert (response["statusCode"], error["type"], error["code"]) == (status, type, code)


@pytest.mark.parametrize("name", RESPONSES)
def test_web_pages_learn_of_errors(name: str) -> None:
    """Their scripts see no response without the header, not even its status."""
    header = RESPONSES[name]["responseParameters"][
        "gatewayresponse.header.Access-Control-Allow-Origin"
    ]
    assert header == {"Fn::If": ["HasCors", "'*'", {"Ref": "AWS::NoValue"}]}


def test_whatever_else_goes_wrong_has_the_envelope() -> None:
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= set(RESPONSES)
    assert all("statusCode" not in RESPONSES[name] for name in ("DEFAULT_4XX", "DEFAULT_5XX"))


def test_base_urls_end_with_v1() -> None:
    values = json.dumps(TEMPLATE["Outputs"]["ApiUrl"]["Value"])
    assert len(re.findall(r"v1\"", values)) == len(re.findall("Fn::Sub", values)) == 4


def test_a_domain_is_mapped_to_the_api_of_the_endpoint() -> None:
    mappings = of_type(TEMPLATE, "AWS::ApiGatewayV2::ApiMapping")
    assert {name: each["ApiId"]["Ref"] for name, each in mappings.items()} == {
        "RestMapping": "RestApi",
        "HttpMapping": "HttpApi",
    }
    conditions = TEMPLATE["Conditions"]
    for condition, endpoint in (("HasRestDomain", "IsRestApi"), ("HasHttpDomain", "IsHttpApi")):
        assert conditions[condition] == {
            "Fn::And": [{"Condition": "HasDomain"}, {"Condition": endpoint}]
        }
    (domain,) = of_type(TEMPLATE, "AWS::ApiGatewayV2::DomainName").values()
    (configuration,) = domain["DomainNameConfigurations"]
    assert (configuration["EndpointType"], configuration["SecurityPolicy"]) == (
        "REGIONAL",
        "TLS_1_2",
    )


def test_a_warm_environment_is_asked_what_needs_no_key() -> None:
    (rule,) = of_type(TEMPLATE, "AWS::Events::Rule").values()
    (target,) = rule["Targets"]
    event = json.loads(target["Input"])
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/health"
    assert event["requestContext"]["http"]["method"] == "GET"
    assert target["Arn"] == {"Ref": "InferenceFunctionAliaslive"}
