"""A stack: the real ``sam deploy`` and ``sam delete``, and requests to what was deployed."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from openai import OpenAI

from tests.deploy.emulator import Emulator
from tests.deploy.workarounds import WORKAROUNDS, Template
from tests.sam.cli import CONFIGURATION
from tests.server import command

_SECONDS = 900
"""Far more than a deployment takes: only a hang should reach it."""


class Stack:
    """The template with its workarounds, as one stack. ``built`` is what ``sam build`` made."""

    def __init__(
        self, name: str, emulator: Emulator, sam: str, built: Path, directory: Path
    ) -> None:
        self.name = name
        self.emulator = emulator
        self.template = read(built / "template.yaml")
        self.key = ""
        """The API key that it accepts, once it was deployed with that."""
        self._sam = sam
        self._directory = directory
        self._copy = built / "test-deploy.json"  # beside what was built, so that its paths hold
        self._parameters: dict[str, str] = {}

    def deploy(self, key: str | None = None, **parameters: str) -> None:
        """Deploy with these parameters, and as before else."""
        done = self.try_deploy(key, **parameters)
        assert done.returncode == 0, f"{done.stdout}\n{self.emulator.log_text()[-10_000:]}"
        self.key = self.key if key is None else key
        self._parameters |= self._with_key(key, parameters)

    def try_deploy(
        self, key: str | None = None, **parameters: str
    ) -> subprocess.CompletedProcess[str]:
        """As `deploy`, but it may fail, and what is next deployed knows nothing of it."""
        values = self._parameters | self._with_key(key, parameters)
        self._write_copy(values)
        return self._run(
            *("deploy", "--template-file", str(self._copy), "--no-confirm-changeset"),
            *("--no-progressbar", "--no-fail-on-empty-changeset"),
            *("--parameter-overrides", *(_override(*each) for each in values.items())),
        )

    def delete(self) -> None:
        """``sam delete``."""
        done = self._run("delete", "--no-prompts")
        assert done.returncode == 0, done.stdout

    def status(self) -> str:
        """CloudFormation's word for its state."""
        (stack,) = self.emulator.aws("cloudformation").describe_stacks(StackName=self.name)[
            "Stacks"
        ]
        return str(stack["StackStatus"])

    def outputs(self) -> dict[str, str]:
        """What it says where things are."""
        (stack,) = self.emulator.aws("cloudformation").describe_stacks(StackName=self.name)[
            "Stacks"
        ]
        return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}

    def url(self) -> str:
        """The base URL for clients; an update may change it."""
        return self.outputs()["ApiUrl"]

    def resources(self, kind: str) -> dict[str, str]:
        """What it made of a type: physical ids, by their names in the template."""
        pages = self.emulator.aws("cloudformation").get_paginator("list_stack_resources")
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for page in pages.paginate(StackName=self.name)
            for each in page["StackResourceSummaries"]
            if each["ResourceType"] == kind
        }

    def openai(self, key: str | None = None, **options: Any) -> OpenAI:
        """The real client, with the stack's key by default; ``options`` are its own."""
        http = httpx2.Client(transport=self.emulator.transport(), timeout=300)
        return OpenAI(
            base_url=self.url(),
            api_key=self.key if key is None else key,
            http_client=http,
            max_retries=0,
            **options,
        )

    def invocations(self, service: str) -> int:
        """How often a function has been called, by its log."""
        pages = self.emulator.aws("logs").get_paginator("filter_log_events")
        group = f"/pilotlight/{self.name}/{service}"
        return sum(
            each["message"].startswith("START ")
            for page in pages.paginate(logGroupName=group)
            for each in page["events"]
        )

    def pilotlight(self, *arguments: str) -> str:
        """What a command of ``pilotlight`` prints that uses the stack's table and bucket."""
        outputs = self.outputs()
        store = f"dynamodb:{outputs['TableName']},{outputs['BucketName']}"
        return subprocess.run(
            [*command(*arguments), "--store", store],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._directory),
                **self.emulator.environment(),
            },
            stdout=subprocess.PIPE,
            text=True,
            timeout=300,
            check=True,
        ).stdout.strip()

    @contextmanager
    def without_permission(self, action: str) -> Iterator[None]:
        """While none of its managed policies allows an action."""
        iam = self.emulator.aws("iam")
        before: dict[str, str] = {}
        for arn in self.resources("AWS::IAM::ManagedPolicy").values():
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)
            document = found["PolicyVersion"]["Document"]
            text = json.dumps(document)
            for statement in document["Statement"]:
                if action in statement["Action"]:
                    statement["Action"].remove(action)
                    before[arn] = text
            if arn in before:
                _set_policy(iam, arn, json.dumps(document))
        assert before, f"nothing allows {action}"
        try:
            yield
        finally:
            for arn, text in before.items():
                _set_policy(iam, arn, text)

    @staticmethod
    def _with_key(key: str | None, parameters: dict[str, str]) -> dict[str, str]:
        if key is None:
            return parameters
        return {**parameters, "ApiKeyHashes": hashlib.sha256(key.encode()).hexdigest()}

    def _write_copy(self, parameters: dict[str, str]) -> None:
        """Write the template that is deployed."""
        template = copy.deepcopy(self.template)
        for apply in WORKAROUNDS:
            apply(template, parameters)
        self._copy.write_text(json.dumps(template), encoding="utf-8")

    def _run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                self._sam,
                verb,
                "--config-file",
                str(CONFIGURATION),
                "--stack-name",
                self.name,
                *arguments,
            ],
            cwd=self._directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._directory),
                "SAM_CLI_TELEMETRY": "0",
                **self.emulator.environment(),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def _override(name: str, value: str) -> str:
    """A parameter as ``--parameter-overrides`` takes it, which ends values at spaces."""
    quoted = value.replace(" ", "").replace('"', '\\"')
    return f"{name}={quoted}"


def _set_policy(iam: Any, arn: str, document: str) -> None:
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)


def read(path: Path) -> Template:
    """A template with the long forms of all functions."""
    from cfnlint.decode import decode  # type: ignore[import-untyped]  # takes a second

    template, problems = decode(str(path))
    assert not problems
    plain: Template = json.loads(json.dumps(template))
    return plain
