"""Everything that a deployment on Modal lets one choose, once: variable, default and explanation.

Read where `modal deploy` runs and again in each container, with the same values (see
`Deployment.container_environment`). Needs nothing but Python: who deploys has `modal` installed,
and need not have pilotlight's own dependencies.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from functions.modal import option_types as kind

PREFIX = "PILOTLIGHT_MODAL_"
PORT = 8000
"""Where the server handler listens inside its container."""
MODELS = "/models"
"""Where the Volume with downloaded models is mounted."""
PREFIXES = "/prefixes"
"""Where the Volume of the prefix cache is mounted, if one is named."""
BUCKET = "/bucket"
"""Where an S3 bucket is mounted, if one is named."""

CONTAINER_FILES = {
    "PILOTLIGHT_CONFIG": "/etc/pilotlight/pilotlight.toml",
    "PILOTLIGHT_CHAT_TEMPLATE_FILE": "/etc/pilotlight/chat-template.jinja",
}
"""Settings that name a file of whoever deploys, and where containers have it."""

_PASSED_ON = ("PILOTLIGHT_", "OTEL_")
_PREFIX_STORE = "PILOTLIGHT_PREFIX_STORE"
_WARM_PREFIX = "PILOTLIGHT_WARM_PREFIX"
_KEY_VARIABLE = "PILOTLIGHT_API_KEY"
_HASH_VARIABLE = "PILOTLIGHT_API_KEY_HASH"
_CUDA_ARCHITECTURES = {
    "T4": "75",
    "A100": "80",
    "A10": "86",
    "L4": "89",
    "L40S": "89",
    "H100": "90",
    "H200": "90",
    "B200": "100",
    "RTX-PRO-6000": "120",
}
"""Compute capabilities without their dot, as CMake's CUDA_ARCHITECTURES has them."""
_LONGEST = 86400
"""What Modal lets a timeout be at most, in seconds."""
_EXIT_SECONDS = 30
"""What Modal gives the exit handlers of a preempted container."""

T = TypeVar("T")


class DeploymentError(ValueError):
    """The deployment can't be as it was asked for; the message says what to change."""


def _option(parse: Callable[[str], T], default: str, meaning: str) -> T:
    """A field that is read by ``parse`` from its variable, or from ``default``'s text."""
    option: T = field(metadata={"parse": parse, "default": default, "meaning": meaning})
    return option


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployment. Each field is set by a variable, as `variable` spells it."""

    app: str = _option(kind.name, "pilotlight", "the app's name on Modal, and part of its URLs")
    handler: str = _option(
        kind.one_of("asgi", "server"),
        "asgi",
        "how requests reach the GPU: 'asgi' (a web function: requests wait for a cold start) or "
        "'server' (faster, but 503 while no container runs)",
    )
    gpu: tuple[str, ...] = _option(
        kind.gpus,
        "L4",
        "GPU types in order of preference, comma-separated; 'H100:2' is two of them",
    )
    cpu: float = _option(kind.decimal(0.125), "2", "CPU cores (physical) to request")
    memory: int = _option(kind.whole(512), "4096", "memory to request, in MiB")
    min_containers: int = _option(
        kind.whole(0), "0", "GPU containers that never stop; 0 costs nothing"
    )
    max_containers: int = _option(
        kind.whole(1), "4", "GPU containers at once: the limit of what a minute can cost"
    )
    scaledown_window: int = _option(
        kind.whole(2, 3600), "60", "seconds that an idle GPU container waits for the next request"
    )
    startup_timeout: int = _option(
        kind.whole(10, _LONGEST),
        "1200",
        "seconds for a start, with the first download of the model",
    )
    timeout: int = _option(
        kind.whole(10, _LONGEST),
        "900",
        "seconds for a request; generation ends PILOTLIGHT_DEADLINE_MARGIN before that",
    )
    memory_snapshot: bool = _option(
        kind.boolean, "true", "start from a snapshot of a container's memory after its imports"
    )
    gpu_snapshot: bool = _option(
        kind.boolean,
        "false",
        "let the snapshot hold the GPU's memory too, with the model loaded (alpha at Modal)",
    )
    proxy_auth: bool = _option(
        kind.boolean,
        "false",
        "let Modal refuse requests without the headers Modal-Key, Modal-Secret",
    )
    api_key_secret: str = _option(
        str, "", f"Modal Secret that holds {_HASH_VARIABLE}, instead of setting it to deploy"
    )
    aws_secret: str = _option(
        str, "", "Modal Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION"
    )
    hf_secret: str = _option(str, "", "Modal Secret with HF_TOKEN, for gated models")
    upstream_secret: str = _option(
        str, "", "Modal Secret with the keys that PILOTLIGHT_MODELS names, as env:NAME"
    )
    volume: str = _option(
        kind.name, "pilotlight-models", f"Modal Volume that keeps downloaded models, at {MODELS}"
    )
    prefix_volume: str = _option(
        kind.optional_name,
        "",
        f"Modal Volume that keeps prompts' beginnings for all containers, at {PREFIXES}",
    )
    bucket: str = _option(
        str, "", f"S3 bucket to mount, read-only, at {BUCKET}; PILOTLIGHT_MODEL is then a path"
    )
    bucket_endpoint: str = _option(str, "", "URL of the bucket's service where it is not AWS's")
    region: tuple[str, ...] = _option(
        kind.names,
        "",
        "regions where containers may run, comma-separated; Modal charges extra for it",
    )
    routing_region: str = _option(kind.name, "us-east", "region of the server handler's proxy")
    cuda: str = _option(
        kind.version, "12.9.1", "CUDA version of the image; the driver must be as new"
    )
    cuda_architectures: str = _option(
        str, "", "compute capabilities to compile for, as '80;90' (default: those of the GPUs)"
    )
    cuda_wheels: str = _option(
        str,
        "",
        "URL of an index with CUDA wheels of llama-cpp-python, to install instead of compiling; "
        "its README names the author's",
    )
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings and OpenTelemetry's options (``PILOTLIGHT_*``, ``OTEL_*``) to pass on."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Deployment:
        """As ``environ`` has it; raises `DeploymentError`."""
        values: dict[str, Any] = {}
        known = {variable(option.name) for option in options()}
        if unknown := sorted(n for n in environ if n.startswith(PREFIX) and n not in known):
            raise DeploymentError(f"unknown variable {unknown[0]}; docs/deploy-modal.md lists all")
        for option in options():
            text = environ.get(variable(option.name), option.metadata["default"])
            try:
                values[option.name] = option.metadata["parse"](text)
            except ValueError as error:
                raise DeploymentError(f"{variable(option.name)}={text}: {error}") from None
        settings = {n: text for n, text in environ.items() if n.startswith(_PASSED_ON)}
        deployment = cls(**values, environment=settings)
        deployment._check()
        return deployment

    def _check(self) -> None:
        _ = self.architectures  # raises for GPUs that are not known
        if self.gpu_snapshot and not self.memory_snapshot:
            raise DeploymentError(f"{PREFIX}GPU_SNAPSHOT needs {PREFIX}MEMORY_SNAPSHOT")
        if self.min_containers > self.max_containers:
            raise DeploymentError(f"{PREFIX}MIN_CONTAINERS is above {PREFIX}MAX_CONTAINERS")
        if self.max_inputs < self.parallel:
            raise DeploymentError("PILOTLIGHT_MAX_QUEUE is below PILOTLIGHT_PARALLEL")
        if self.prefix_volume and self.environment.get(_PREFIX_STORE, PREFIXES) != PREFIXES:
            raise DeploymentError(
                f"{_PREFIX_STORE} and {PREFIX}PREFIX_VOLUME name two stores: leave one out"
            )
        if self.handler == "asgi" and self.grace_period > _EXIT_SECONDS - 5:
            raise DeploymentError(
                f"PILOTLIGHT_GRACE_PERIOD={self.grace_period:g}: at most {_EXIT_SECONDS - 5}, "
                f"since Modal ends a preempted container after {_EXIT_SECONDS} s"
            )
        has_keys = self.environment.get(_HASH_VARIABLE) or self._setting(
            "PILOTLIGHT_ACCOUNTS", kind.boolean, default=False
        )
        if not (self.proxy_auth or self.api_key_secret or has_keys):
            raise DeploymentError(
                f"the URLs are public, so keys are needed: set {_HASH_VARIABLE} to the SHA-256 of "
                f"an API key (keys themselves stay here), or {PREFIX}API_KEY_SECRET to a Modal "
                f"Secret that holds it, or {PREFIX}PROXY_AUTH=true"
            )

    @property
    def parallel(self) -> int:
        """Sequences in one batch."""
        return self._setting("PILOTLIGHT_PARALLEL", kind.whole(1), 32)

    @property
    def max_inputs(self) -> int:
        """Requests in one container: as many as may wait in the engine's queue.

        All of them do when they come at once, as after a cold start: long prompts enter the batch
        one after the other. So the queue never overflows; further requests wait at Modal, for this
        container or another.
        """
        return self._setting("PILOTLIGHT_MAX_QUEUE", kind.whole(1), 2 * self.parallel)

    @property
    def grace_period(self) -> float:
        """Seconds that running requests get to end when a container is stopped."""
        return self._setting("PILOTLIGHT_GRACE_PERIOD", kind.decimal(0), 20.0)

    @property
    def stores(self) -> bool:
        """Whether completions can be stored."""
        return self.environment.get("PILOTLIGHT_STORE", "none") != "none"

    @property
    def architectures(self) -> str:
        """Compute capabilities to compile llama.cpp for, as CMake takes them."""
        if self.cuda_architectures:
            return self.cuda_architectures
        types = [name.partition(":")[0].rstrip("!+").upper() for name in self.gpu]
        found = {_architecture(name) for name in types}
        return ";".join(sorted(found, key=int))

    def container_environment(self) -> dict[str, str | None]:
        """Variables of the containers: all settings but keys, with Modal's own defaults."""
        passed: dict[str, str | None] = {**self._defaults(), **self.environment}
        passed.pop(_KEY_VARIABLE, None)
        passed |= {name: path for name, path in CONTAINER_FILES.items() if name in passed}
        if warm := self._warm_prefixes():
            passed[_WARM_PREFIX] = ",".join(warm.values())
        if self.prefix_volume:
            passed[_PREFIX_STORE] = PREFIXES
        # The hub's client keeps a log file open, which must not be in a Volume that is committed.
        hub = {"HF_HOME": f"{MODELS}/huggingface", "HF_XET_CACHE": "/tmp/xet"}
        return {**passed, **hub}

    def files(self) -> dict[str, str]:
        """Files of whoever deploys that containers need, and their paths there."""
        return {
            self.environment[name]: path
            for name, path in CONTAINER_FILES.items()
            if self.environment.get(name)
        } | self._warm_prefixes()

    def _warm_prefixes(self) -> dict[str, str]:
        """Files with what many prompts begin with, and where containers have them."""
        files = [file for file in self.environment.get(_WARM_PREFIX, "").split(",") if file.strip()]
        return {
            file.strip(): f"/etc/pilotlight/warm-prefix-{number}.txt"
            for number, file in enumerate(files)
        }

    def _setting(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self.environment.get(name)
        try:
            return default if text is None else parse(text)
        except ValueError as error:
            raise DeploymentError(f"{name}={text}: {error}") from None

    def _defaults(self) -> dict[str, str]:
        return {
            "PILOTLIGHT_PARALLEL": str(self.parallel),
            "PILOTLIGHT_MAX_QUEUE": str(self.max_inputs),
            "PILOTLIGHT_GRACE_PERIOD": f"{self.grace_period:g}",
            # What a container sees are all cores of the machine, far more than it may use.
            "PILOTLIGHT_THREADS": str(max(int(self.cpu), 1)),
            "PILOTLIGHT_MODEL_CACHE": f"{MODELS}/s3",
            # SQLite's file would vanish with its container.
            "PILOTLIGHT_STORE": "none",
        }


def options() -> list[Any]:
    """The fields that are variables."""
    return [option for option in fields(Deployment) if option.name != "environment"]


def variable(name: str) -> str:
    """A field's environment variable."""
    return f"{PREFIX}{name.upper()}"


def _architecture(gpu: str) -> str:
    base = next((known for known in _CUDA_ARCHITECTURES if gpu in (known, f"{known}G")), None)
    base = base or ("A100" if gpu.startswith("A100-") else None)
    if base is None:
        raise DeploymentError(
            f"{PREFIX}GPU={gpu}: its compute capability is not known here; set "
            f"{PREFIX}CUDA_ARCHITECTURES, as 90"
        )
    return _CUDA_ARCHITECTURES[base]
