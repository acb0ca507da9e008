"""The settings of a deployment: what is refused, what is derived, and the page that lists them."""

from __future__ import annotations

import re

import pytest

from functions.modal.deployment import Deployment, DeploymentError, options, variable
from tests.modal_app.control_plane import ROOT
from tests.modal_app.variables import KEY_HASH

PAGE = ROOT / "docs" / "deploy-modal.md"
HASH = {"PILOTLIGHT_API_KEY_HASH": KEY_HASH}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "the URLs are public"),
        ({"PILOTLIGHT_API_KEY": "a-key"}, "the URLs are public"),
        ({**HASH, "PILOTLIGHT_MODAL_GPUS": "L4"}, "unknown variable PILOTLIGHT_MODAL_GPUS"),
        ({**HASH, "PILOTLIGHT_MODAL_GPU": ""}, "PILOTLIGHT_MODAL_GPU=: expected types of GPUs"),
        ({**HASH, "PILOTLIGHT_MODAL_GPU": "L4,H100:9"}, "H100:9: expected types of GPUs"),
        ({**HASH, "PILOTLIGHT_MODAL_GPU": "H100:two"}, "H100:two: expected types of GPUs"),
        ({**HASH, "PILOTLIGHT_MODAL_GPU": "X1"}, "GPU=X1: its compute capability is not known"),
        ({**HASH, "PILOTLIGHT_MODAL_CPU": "two"}, "CPU=two: expected a number, at least 0.125"),
        ({**HASH, "PILOTLIGHT_MODAL_CPU": "nan"}, "CPU=nan: expected a number, at least 0.125"),
        ({**HASH, "PILOTLIGHT_MODAL_MEMORY": "4G"}, "MEMORY=4G: expected a whole number, at"),
        ({**HASH, "PILOTLIGHT_MODAL_TIMEOUT": "86401"}, "whole number, between 10 and 86400"),
        ({**HASH, "PILOTLIGHT_MODAL_APP": ""}, "PILOTLIGHT_MODAL_APP=: expected a name"),
        ({**HASH, "PILOTLIGHT_MODAL_VOLUME": "my models"}, "my models: expected a name"),
        ({**HASH, "PILOTLIGHT_MODAL_PREFIX_VOLUME": "a b"}, "a b: expected a name"),
        (
            {
                **HASH,
                "PILOTLIGHT_MODAL_PREFIX_VOLUME": "prefixes",
                "PILOTLIGHT_PREFIX_STORE": "s3://bucket/prefixes",
            },
            "PILOTLIGHT_PREFIX_STORE and PILOTLIGHT_MODAL_PREFIX_VOLUME name two stores",
        ),
        ({**HASH, "PILOTLIGHT_MODAL_CUDA": "12"}, "CUDA=12: expected a version such as 12.9.1"),
        (
            {**HASH, "PILOTLIGHT_MODAL_HANDLER": "back"},
            "PILOTLIGHT_MODAL_HANDLER=back: one of asgi",
        ),
        (
            {**HASH, "PILOTLIGHT_MODAL_SCALEDOWN_WINDOW": "1"},
            "SCALEDOWN_WINDOW=1: expected a whole",
        ),
        ({**HASH, "PILOTLIGHT_MODAL_PROXY_AUTH": "perhaps"}, "expected true or false"),
        ({**HASH, "PILOTLIGHT_MODAL_MIN_CONTAINERS": "5"}, "MIN_CONTAINERS is above"),
        ({**HASH, "PILOTLIGHT_PARALLEL": "many"}, "PARALLEL=many: expected a whole number, at"),
        ({**HASH, "PILOTLIGHT_MAX_QUEUE": "31"}, "MAX_QUEUE is below PILOTLIGHT_PARALLEL"),
        ({**HASH, "PILOTLIGHT_GRACE_PERIOD": "60"}, "Modal ends a preempted container"),
        (
            {
                **HASH,
                "PILOTLIGHT_MODAL_GPU_SNAPSHOT": "true",
                "PILOTLIGHT_MODAL_MEMORY_SNAPSHOT": "false",
            },
            "GPU_SNAPSHOT needs PILOTLIGHT_MODAL_MEMORY_SNAPSHOT",
        ),
    ],
)
def test_what_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(DeploymentError, match=re.escape(message)):
        Deployment.from_environment(variables)


@pytest.mark.parametrize(
    ("gpu", "architectures"),
    [
        ("L4", "89"),
        ("T4,a10g", "75;86"),
        ("A100-40GB,A100-80GB:4", "80"),
        ("H100!,H200", "90"),
        ("B200+", "100"),
    ],
)
def test_llama_cpp_is_compiled_for_the_gpus(gpu: str, architectures: str) -> None:
    deployment = Deployment.from_environment({**HASH, "PILOTLIGHT_MODAL_GPU": gpu})

    assert deployment.architectures == architectures


def test_an_unknown_gpu_needs_its_compute_capability() -> None:
    unknown = {**HASH, "PILOTLIGHT_MODAL_GPU": "X1"}

    with pytest.raises(DeploymentError, match="CUDA_ARCHITECTURES"):
        Deployment.from_environment(unknown)

    named = {**unknown, "PILOTLIGHT_MODAL_CUDA_ARCHITECTURES": "130"}
    assert Deployment.from_environment(named).architectures == "130"


def test_proxy_authentication_replaces_keys() -> None:
    deployment = Deployment.from_environment({"PILOTLIGHT_MODAL_PROXY_AUTH": "true"})

    assert deployment.proxy_auth


def test_accounts_bring_keys() -> None:
    accounts = {"PILOTLIGHT_ACCOUNTS": "true", "PILOTLIGHT_STORE": "dynamodb:table,bucket"}
    assert Deployment.from_environment(accounts).stores
    with pytest.raises(DeploymentError, match="keys are needed"):
        Deployment.from_environment({**accounts, "PILOTLIGHT_ACCOUNTS": "false"})


def test_a_container_reads_the_deployment_that_it_was_given() -> None:
    deployed = Deployment.from_environment(
        {
            **HASH,
            "PILOTLIGHT_MODAL_GPU": "H100",
            "PILOTLIGHT_CTX_SIZE": "4096",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example",
        }
    )

    passed = {n: v for n, v in deployed.container_environment().items() if v is not None}
    read = Deployment.from_environment(passed)

    assert read.gpu == ("H100",)
    assert passed["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://collector.example"
    assert read.container_environment() == passed
    assert (read.parallel, read.max_inputs) == (deployed.parallel, deployed.max_inputs)


def test_prefixes_are_kept_in_a_volume_or_a_bucket() -> None:
    """And what is to be warm goes along."""
    volume = {**HASH, "PILOTLIGHT_MODAL_PREFIX_VOLUME": "prefixes"}
    deployed = Deployment.from_environment({**volume, "PILOTLIGHT_WARM_PREFIX": "a.txt, b.json"})
    passed = {n: v for n, v in deployed.container_environment().items() if v is not None}

    assert passed["PILOTLIGHT_PREFIX_STORE"] == "/prefixes"
    warm = passed["PILOTLIGHT_WARM_PREFIX"].split(",")
    assert deployed.files() == {"a.txt": warm[0], "b.json": warm[1]}
    assert Deployment.from_environment(passed).container_environment() == passed

    bucket = {**HASH, "PILOTLIGHT_PREFIX_STORE": "s3://bucket/prefixes"}
    environment = Deployment.from_environment(bucket).container_environment()
    assert environment["PILOTLIGHT_PREFIX_STORE"] == "s3://bucket/prefixes"


def test_the_page_lists_every_variable() -> None:
    rows = [
        f"| `{variable(option.name)}` | {_shown(option.metadata['default'])} "
        f"| {option.metadata['meaning']} |"
        for option in options()
    ]

    page = PAGE.read_text(encoding="utf-8")

    assert "\n".join(rows) in page, "docs/deploy-modal.md needs these rows:\n" + "\n".join(rows)


def _shown(default: str) -> str:
    return f"`{default}`" if default else ""
