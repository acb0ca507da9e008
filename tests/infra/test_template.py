"""template.yaml fits what it deploys: settings, routes, hooks, files, documentation."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from functions.aws_lambda.snapshot_hooks import AFTER_RESTORE, BEFORE_SNAPSHOT
from shared.config.settings import Settings
from tests.infra.template import NAMES, ROOT, of_type, read, resolve

TEMPLATE = read()
FUNCTIONS = of_type(TEMPLATE, "AWS::Serverless::Function")
ALARMS = of_type(TEMPLATE, "AWS::CloudWatch::Alarm")
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
PARAMETERS: dict[str, Any] = TEMPLATE["Parameters"]
DEFAULTS = {name: str(parameter.get("Default", "")) for name, parameter in PARAMETERS.items()}
HASH = "0123456789abcdef" * 4


def environment(function: str) -> dict[str, str]:
    """A function's variables, with the parameters' defaults and a model in S3."""
    names = {
        **NAMES,
        **DEFAULTS,
        "ApiKeyHashes": HASH,
        "ModelBucket": "models",
        "ModelKey": "a/b.gguf",
    }
    variables = resolve(FUNCTIONS[function]["Environment"]["Variables"], names)
    return {name: str(value) for name, value in variables.items()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_variables_are_settings_that_are_accepted(
    function: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("PILOTLIGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    variables = {k: v for k, v in environment(function).items() if k.startswith("PILOTLIGHT_")}
    for name, value in variables.items():
        assert name.removeprefix("PILOTLIGHT_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, value)
    settings = Settings()
    if function != "AuthorizerFunction":
        assert settings.model == "s3://models/a/b.gguf"
    assert settings.store == "dynamodb:TABLE,BUCKET"
    assert settings.api_key_hash == [HASH]
    assert settings.alias == []


@pytest.mark.parametrize("spec_type", PARAMETERS["SpecType"]["AllowedValues"])
def test_sources_of_drafts_are_known_to_the_settings(spec_type: str) -> None:
    assert Settings.model_validate({"spec_type": spec_type}).spec_type == [spec_type]


def test_settings_reach_the_alias_of_a_function() -> None:
    """A new value publishes a version only where SAM sees the value instead of a reference.

    AWS::LanguageExtensions puts it there, before SAM, in resources only (tests/sam runs both).
    """
    assert TEMPLATE["Transform"][0] == "AWS::LanguageExtensions"
    assert set(GLOBALS) == {"Runtime", "Architectures", "CodeUri"}  # what changes with the code
    assert FUNCTIONS["InferenceFunction"]["AutoPublishAliasAllProperties"] is True
    assert FUNCTIONS["InferenceFunction"]["VersionDeletionPolicy"] == "Delete"
    for function in ("ApiFunction", "AuthorizerFunction"):
        assert "AutoPublishAlias" not in FUNCTIONS[function]


def test_functions_know_the_same_keys() -> None:
    names = ("PILOTLIGHT_API_KEY_HASH", "PILOTLIGHT_STORE", "PILOTLIGHT_ACCOUNTS")
    keys = [
        {name: function["Environment"]["Variables"][name] for name in names}
        for function in FUNCTIONS.values()
    ]
    assert all(each == keys[0] for each in keys)


def test_only_one_function_has_a_model() -> None:
    """A second one would cost a second snapshot, and each would be warm half of the time."""
    with_model = [name for name, each in FUNCTIONS.items() if "SnapStart" in each]
    assert with_model == ["InferenceFunction"]


def test_a_forgotten_deployment_costs_next_to_nothing() -> None:
    assert DEFAULTS["SnapStart"] == "off"
    metrics = [query for each in ALARMS.values() for query in each.get("Metrics", [each])]
    assert len([each for each in metrics if "Expression" not in each]) <= 10  # are free


def test_without_tracing_no_caller_can_have_a_request_traced() -> None:
    """Lambda passes on what a caller's trace header says, and functions would follow it."""
    for function in FUNCTIONS.values():
        assert function["Tracing"] == {"Fn::If": ["HasTracing", "Active", "PassThrough"]}
        exporter = function["Environment"]["Variables"].get("OTEL_TRACES_EXPORTER")
        assert exporter in ({"Fn::If": ["HasTracing", "otlp", "none"]}, None)


def test_functions_behind_api_gateway_end_before_it_does() -> None:
    """Responses that are not streamed have to be there within 29 or 30 s."""
    inference = {"Fn::If": ["IsHttpApi", 29, {"Ref": "InferenceTimeout"}]}
    assert FUNCTIONS["InferenceFunction"]["Timeout"] == inference
    assert PARAMETERS["InferenceTimeout"]["MaxValue"] == 900
    assert FUNCTIONS["ApiFunction"]["Timeout"] < 30
    assert FUNCTIONS["AuthorizerFunction"]["Timeout"] <= 10


def test_handlers_exist() -> None:
    condition, buffered, streaming = FUNCTIONS["InferenceFunction"]["Handler"]["Fn::If"]
    assert condition == "IsHttpApi"
    others = [FUNCTIONS[name]["Handler"] for name in ("ApiFunction", "AuthorizerFunction")]
    for handler in (buffered, *others):
        module, _, attribute = handler.rpartition(".")
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert re.search(rf"^{attribute} = ", source, re.MULTILINE)
    assert os.access(ROOT / streaming, os.X_OK)


def test_the_adapter_is_there_unless_answers_are_whole() -> None:
    """`Mangum` answers an HTTP API's events; the adapter would take its place."""
    function = FUNCTIONS["InferenceFunction"]
    wrapper = function["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"]
    nothing = {"Ref": "AWS::NoValue"}
    assert wrapper == {"Fn::If": ["IsHttpApi", nothing, "/opt/bootstrap"]}
    ((condition, without, layer),) = (each["Fn::If"] for each in function["Layers"])
    assert (condition, without) == ("IsHttpApi", nothing)
    assert "LambdaAdapterLayerX86" in str(layer)


def test_the_adapter_knows_the_paths_that_the_function_serves() -> None:
    variables = environment("InferenceFunction")
    assert variables["AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"] == BEFORE_SNAPSHOT
    assert variables["AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"] == AFTER_RESTORE
    assert variables["AWS_LWA_READINESS_CHECK_PATH"] == "/health"
    assert variables["AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"] == "200"  # by default 404 is one
    assert variables["AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"] == "900"
    assert variables["AWS_LWA_INVOKE_MODE"] == "response_stream"


def test_on_demand_the_adapter_leaves_the_initialization_before_lambda_ends_it() -> None:
    """Else Lambda kills it after 10 s and begins anew: the model would be fetched twice."""
    variables = FUNCTIONS["InferenceFunction"]["Environment"]["Variables"]
    assert variables["AWS_LWA_ASYNC_INIT"] == {"Fn::If": ["InitializesAhead", "false", "true"]}


def test_the_build_is_for_the_runtime() -> None:
    source = (ROOT / "infra" / "lambda" / "architectures.py").read_text(encoding="utf-8")
    version = re.search(r'^PYTHON_VERSION = "(.+)"', source, re.MULTILINE)
    assert version
    assert GLOBALS["Runtime"] == f"python{version[1]}"
    directories = {path.parent.name for path in (ROOT / "infra" / "lambda").glob("*/Makefile")}
    assert set(PARAMETERS["Architecture"]["AllowedValues"]) == directories


def test_a_public_url_has_both_permissions() -> None:
    found = of_type(TEMPLATE, "AWS::Lambda::Permission")
    public = {name: each for name, each in found.items() if each["Principal"] == "*"}
    assert {each["Action"] for each in public.values()} == {
        "lambda:InvokeFunction",
        "lambda:InvokeFunctionUrl",
    }
    for name in public:
        assert TEMPLATE["Resources"][name]["Condition"] == "IsPublicUrl"


@pytest.mark.parametrize(
    ("hashes", "accepted"),
    [
        (HASH, True),
        (f"{HASH},{HASH}", True),
        ("", False),
        ("sk-secret", False),
        (f"{HASH}, {HASH}", False),
    ],
)
def test_keys_themselves_are_no_hashes(hashes: str, accepted: bool) -> None:
    assert bool(re.fullmatch(PARAMETERS["ApiKeyHashes"]["AllowedPattern"], hashes)) == accepted
    assert "Default" not in PARAMETERS["ApiKeyHashes"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_logs_are_kept_for_a_limited_time(function: str) -> None:
    group = FUNCTIONS[function]["LoggingConfig"]["LogGroup"]["Ref"]
    assert "RetentionInDays" in TEMPLATE["Resources"][group]["Properties"]


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        *(("InferenceFunction", metric) for metric in ("Errors", "Throttles", "Duration")),
        *(("ApiFunction", metric) for metric in ("Errors", "Throttles", "Duration")),
        ("AuthorizerFunction", "Errors"),  # all else makes API Gateway answer with 5xx
    ],
)
def test_functions_have_alarms(function: str, metric: str) -> None:
    dimension = {"Name": "FunctionName", "Value": {"Ref": function}}
    watched = [
        (each["MetricName"], each["Dimensions"])
        for alarm in ALARMS.values()
        for each in [
            alarm,
            *(query.get("MetricStat", {}).get("Metric", {}) for query in alarm.get("Metrics", [])),
        ]
        if "MetricName" in each
    ]
    assert (metric, [dimension]) in watched


def test_the_duration_alarm_knows_the_timeout() -> None:
    expression = ALARMS["InferenceDurationAlarm"]["Metrics"][0]["Expression"]
    assert expression["Fn::Sub"][1] == {"Timeout": FUNCTIONS["InferenceFunction"]["Timeout"]}


def test_sam_cli_is_told_to_expand_loops() -> None:
    """By default it does not, and ends with an error; for all of its commands, so that none does."""
    configuration = tomllib.loads((ROOT / "samconfig.example.toml").read_text(encoding="utf-8"))
    assert configuration["default"]["global"]["parameters"]["language_extensions"] is True


def test_sam_cli_builds_in_containers_too() -> None:
    """A container sees ``ProjectRootDirectory`` only; on the host nothing of that is copied."""
    for name in FUNCTIONS:
        assert TEMPLATE["Resources"][name]["Metadata"] == {
            "BuildMethod": "makefile",
            "ProjectRootDirectory": ".",
            "ContextPath": {"Fn::Sub": "infra/lambda/${Architecture}"},
        }
    configuration = tomllib.loads((ROOT / "samconfig.example.toml").read_text(encoding="utf-8"))
    assert configuration["default"]["build"]["parameters"] == {"build_in_source": True}


def test_sam_cli_configures_no_tracked_file() -> None:
    """``sam deploy --guided`` writes a deployment's parameters to it."""
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "samconfig.toml" in ignored


def test_lambda_does_not_filter_lines_with_metrics() -> None:
    """They have no level, which counts as INFO."""
    levels = TEMPLATE["Mappings"]["LogLevels"]
    assert set(levels) == set(PARAMETERS["LogLevel"]["AllowedValues"])
    assert {level["Lambda"] for level in levels.values()} == {"DEBUG", "INFO"}


def test_alarms_name_their_target_alike() -> None:
    assert len({str(alarm["AlarmActions"]) for alarm in ALARMS.values()}) == 1
    assert all(alarm["AlarmActions"] == alarm["OKActions"] for alarm in ALARMS.values())


def test_data_outlives_the_stack() -> None:
    """But for the first deployment's that is rolled back: nothing is in there yet."""
    table, bucket = (TEMPLATE["Resources"][name] for name in ("Table", "Bucket"))
    assert table["UpdateReplacePolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    # A protected one could not be deleted.
    policy = {"Fn::If": ["IsDeletionProtected", "Retain", "RetainExceptOnCreate"]}
    assert table["DeletionPolicy"] == policy


def test_parameters_are_grouped_and_documented() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert [name for group in groups for name in group["Parameters"]] == list(PARAMETERS)
    page = (ROOT / "docs" / "deploy-lambda.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\S.*?) \|", page, re.MULTILINE)
    documented = {name: default.strip("`") for name, default in rows if name in PARAMETERS}
    shown = {"": "empty"}
    assert documented == {
        name: shown.get(default, default) if "Default" in PARAMETERS[name] else "none"
        for name, default in DEFAULTS.items()
    }


def test_outputs_are_documented() -> None:
    page = (ROOT / "docs" / "deploy-lambda.md").read_text(encoding="utf-8")
    assert [name for name in TEMPLATE["Outputs"] if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("origins", "accepted"),
    [
        ("", True),
        ("*", True),
        ("localhost,https://app.example.com", True),
        ("http://[::1]:3000,tauri://localhost", True),
        ("https://app.example.com/", False),
        ("https://app.example.com,", False),
        ("https://a.example.com, https://b.example.com", False),
        ("app.example.com", False),
    ],
)
def test_the_pattern_of_origins(origins: str, accepted: bool) -> None:
    pattern = PARAMETERS["CorsOrigins"]["AllowedPattern"]
    assert (re.fullmatch(pattern, origins) is not None) == accepted
    if accepted:
        Settings.model_validate({"cors_origins": origins})
