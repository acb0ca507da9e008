"""Settings: flag, environment variable, default and explanation of each."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shared.config import settings_file
from shared.config.own_models import OwnModel, is_own, own_sections
from shared.config.prices import Price
from shared.config.stand_ins import StandIns, stand_ins
from shared.config.upstreams import LOOPBACK, UpstreamModel, is_upstream, upstream_models
from shared.engine.llama.memory import CacheType
from shared.engine.llama.offload import SplitMode
from shared.models.names import BUILTIN, NONE, default_name
from shared.protocol.model_names import MODEL_NAME
from shared.storage.location import check_location

Outage = Literal["allow", "refuse"]
_SHORTEST_SECRET = 24
"""Bytes, as Standard Webhooks have it."""
_ORIGIN = (
    r"(?!http://[^/]*:80$)(?!https://[^/]*:443$)"
    r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?"
)
"""An origin as browsers spell it. https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin"""


class Settings(BaseSettings):
    """Settings of a server.

    Each field is a flag of ``pilotlight serve`` (``ctx_size`` is ``--ctx-size``, in llama-server's
    spelling), an environment variable (``PILOTLIGHT_CTX_SIZE``) and a key of the configuration
    file (``ctx_size``). Flags win over the environment, and that over the file.

    Making one raises `pydantic.ValidationError`, or `ConfigurationError` for a file that can't be
    read. `shared.config.configuration.load` puts both into words.
    """

    model_config = SettingsConfigDict(
        env_prefix="PILOTLIGHT_", extra="forbid", protected_namespaces=(), populate_by_name=True
    )

    config: Path | None = Field(
        default=None,
        description="TOML file with settings and each model's request defaults "
        f"(default: {settings_file.DEFAULT_FILE} in the working directory, if it is there)",
        json_schema_extra={"metavar": "FILE"},
    )

    model: str = Field(
        default=BUILTIN,
        description="model to serve: a GGUF file's path, hf:OWNER/REPO:FILE, s3://BUCKET/KEY, "
        "'builtin', or 'none' where somebody else serves all (--models)",
        json_schema_extra={"short": "-m", "metavar": "SOURCE"},
    )
    model_cache: str | None = Field(
        default=None,
        min_length=1,
        description="directory where models from S3 are kept, or 'memory' for none (default: "
        "~/.cache/pilotlight/models, or memory where that can't be written)",
        json_schema_extra={"metavar": "DIRECTORY"},
    )
    alias: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="names that requests call the model by, comma-separated; the first one is "
        "shown (default: the file's name)",
        json_schema_extra={"short": "-a", "metavar": "NAME"},
    )
    host: str = Field(
        default="127.0.0.1",
        description="address to listen on; other than loopback needs an API key",
        json_schema_extra={"metavar": "ADDRESS"},
    )
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        description="port to listen on, 0 for any free one",
        json_schema_extra={"metavar": "N"},
    )
    api_key: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        description="API keys that are accepted, comma-separated; without any, no key is needed",
        json_schema_extra={"metavar": "KEY"},
    )
    api_key_hash: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="SHA-256 hashes (64 hexadecimal digits, comma-separated) of further API keys "
        "that are accepted: where keys themselves should not be in the configuration",
        json_schema_extra={"metavar": "HASH"},
    )
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="host names, comma-separated, that requests and the pages they come from may "
        "name besides this machine's own; with API keys everybody's may",
        json_schema_extra={"metavar": "NAME"},
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="origins, comma-separated, whose web pages may send requests and read the "
        "answers (CORS), such as https://app.example.com; 'localhost' for those of this machine, "
        "'*' for all",
        json_schema_extra={"metavar": "ORIGIN"},
    )
    ctx_size: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="tokens in the KV cache, all sequences together; 0 chooses 4096 for each, "
        "or a pool of 16384 where that takes more than 2 GiB (on a GPU: more than is free), or "
        "what fits",
        json_schema_extra={"short": "-c", "metavar": "TOKENS"},
    )
    parallel: int = Field(
        default=16,
        ge=1,
        le=256,
        description="sequences in one batch",
        json_schema_extra={"short": "-np", "metavar": "N"},
    )
    kv_unified: bool | None = Field(
        default=None,
        description="true: the KV cache is one pool, from which a request may take all; false: "
        "each of the parallel sequences has an equal share, which is faster for many (default: "
        "a pool for up to 4 parallel sequences, or where shares would be small)",
        json_schema_extra={"short": "-kvu", "metavar": "BOOL"},
    )
    flash_attn: bool | None = Field(
        default=None,
        description="true: fused attention, on a CPU faster for long prompts; false: separate "
        "operations, on a CPU faster for generating (default: true on a GPU, else false)",
        json_schema_extra={"short": "-fa", "metavar": "BOOL"},
    )
    batch_size: int = Field(
        default=512,
        ge=1,
        description="tokens in one batch: a long prompt delays running streams by at most one",
        json_schema_extra={"short": "-b", "metavar": "TOKENS"},
    )
    ubatch_size: int = Field(
        default=0,
        ge=0,
        description="tokens that are computed at once, at most batch_size; 0 for all of a batch. "
        "Fewer take less memory",
        json_schema_extra={"short": "-ub", "metavar": "TOKENS"},
    )
    cache_type_k: CacheType = Field(
        default="f16",
        description="what keys in the KV cache are kept as: f32, f16, bf16, q8_0, q5_1, q5_0, "
        "q4_1, q4_0 or iq4_nl",
        json_schema_extra={"short": "-ctk", "metavar": "TYPE"},
    )
    cache_type_v: CacheType = Field(
        default="f16",
        description="the same for values; the q types switch flash_attn on",
        json_schema_extra={"short": "-ctv", "metavar": "TYPE"},
    )
    threads: int = Field(
        default=0,
        ge=0,
        description="threads that compute; 0 takes all cores (on AWS Lambda what the memory pays "
        "for), or one for a tiny model or where a GPU has all layers",
        json_schema_extra={"short": "-t", "metavar": "N"},
    )
    n_gpu_layers: int = Field(
        default=-1,
        description="layers to offload to the GPU, -1 for all (no effect in a CPU build)",
        json_schema_extra={"short": "-ngl", "metavar": "N"},
    )
    kv_offload: bool = Field(
        default=True,
        description="false: the KV cache and attention stay on the CPU, whatever the GPU has",
        json_schema_extra={"short": "-kvo", "metavar": "BOOL"},
    )
    split_mode: SplitMode = Field(
        default="layer",
        description="how several GPUs share the model: layer (whole layers each), row (parts of "
        "each layer) or none (one GPU has all)",
        json_schema_extra={"short": "-sm", "metavar": "MODE"},
    )
    main_gpu: int = Field(
        default=0,
        ge=0,
        description="the GPU for split_mode none",
        json_schema_extra={"short": "-mg", "metavar": "N"},
    )
    tensor_split: Annotated[list[Annotated[float, Field(ge=0)]], NoDecode] = Field(
        default=[],
        description="proportions of several GPUs, comma-separated: 3,1 (default: by free memory)",
        json_schema_extra={"short": "-ts", "metavar": "N"},
    )
    n_predict: int = Field(
        default=0,
        ge=0,
        description="limit of completion tokens per choice, and the default of chat completions; "
        "0 leaves it to the context",
        json_schema_extra={"short": "-n", "metavar": "TOKENS"},
    )
    chat_template_file: Path | None = Field(
        default=None,
        description="Jinja chat template to use instead of the one in the model's file",
        json_schema_extra={"metavar": "FILE"},
    )
    parse_special_in_content: bool = Field(
        default=False,
        description="true: control tokens written out in messages are read as such, not as text, "
        "so that whoever writes a message or a tool's result can end its turn and begin another",
        json_schema_extra={"metavar": "BOOL"},
    )
    max_queue: int = Field(
        default=256,
        ge=1,
        description="sequences (choices) of one API key that may wait for a place in the batch; "
        "more get 429",
        json_schema_extra={"metavar": "N"},
    )
    max_body_size: int = Field(
        default=4 * 2**20,
        ge=1,
        description="bytes of a request's body; larger ones get 413",
        json_schema_extra={"metavar": "BYTES"},
    )
    max_content_size: int = Field(
        default=512 * 2**10,
        ge=1,
        description="bytes of all messages' content, or of a prompt, together; more gets 400",
        json_schema_extra={"metavar": "BYTES"},
    )
    max_connections: int = Field(
        default=1024,
        ge=1,
        description="connections that may be open; more get 503. Fewer where the limit of open "
        "files (ulimit -n) is near",
        json_schema_extra={"metavar": "N"},
    )
    header_timeout: float = Field(
        default=10,
        gt=0,
        description="seconds for a request's line and headers to arrive; then 408",
        json_schema_extra={"metavar": "SECONDS"},
    )
    transfer_timeout: float = Field(
        default=30,
        gt=0,
        description="seconds in which a client has to send the next 16 KiB of a body, or else gets "
        "408, and to take the next 16 KiB of an answer, or else is disconnected",
        json_schema_extra={"metavar": "SECONDS"},
    )
    store: str = Field(
        default="sqlite",
        description="where requests with 'store': true keep completions: 'sqlite' (a file in the "
        "data directory), 'sqlite:PATH', 'dynamodb:TABLE,BUCKET' or 'none'",
        json_schema_extra={"metavar": "STORE"},
    )
    accounts: bool = Field(
        default=False,
        description="true: keys of the accounts in the store are accepted too ('pilotlight keys "
        "create' makes one), and every request needs a key",
        json_schema_extra={"metavar": "BOOL"},
    )
    rate_limits_outage: Outage = Field(
        default="allow",
        description="what becomes of requests of projects with rate limits while the store of "
        "accounts does not answer: allow lets them pass unchecked, refuse answers 503",
        json_schema_extra={"metavar": "allow|refuse"},
    )
    budgets_outage: Outage = Field(
        default="refuse",
        description="the same for projects with a spend limit; allow may deliver what nobody pays",
        json_schema_extra={"metavar": "allow|refuse"},
    )
    webhook_secret: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        description="secrets that sign webhooks, comma-separated: whsec_ and the base64 of 24 "
        "random bytes or more. Each signs, so that they can be replaced one after the other",
        json_schema_extra={"metavar": "SECRET"},
    )
    webhook_url: str = Field(
        default="",
        description="URL that spend alerts are sent to as signed POST requests (default: they are "
        "in the log only)",
        json_schema_extra={"metavar": "URL"},
    )
    alert_topic: str = Field(
        default="",
        description="ARN of an SNS topic that spend alerts are sent to, too",
        json_schema_extra={"metavar": "ARN"},
    )
    usage_cost: bool = Field(
        default=False,
        description="true: answers to keys of projects have 'usage.cost', the dollars that the "
        "request costs by the model's prices",
        json_schema_extra={"metavar": "BOOL"},
    )
    data_dir: Path | None = Field(
        default=None,
        description="directory of the embedded store (default: ~/.local/share/pilotlight)",
        json_schema_extra={"metavar": "DIRECTORY"},
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        description="days after which stored completions are deleted; 0 keeps them",
        json_schema_extra={"metavar": "DAYS"},
    )
    tenant_retention_days: Annotated[dict[str, Annotated[int, Field(ge=0)]], NoDecode] = Field(
        default={},
        description='the same for single tenants, as JSON: {"key-0123456789abcdef": 30}',
        json_schema_extra={"metavar": "JSON"},
    )
    grace_period: float = Field(
        default=30,
        ge=0,
        description="seconds that running requests get to end after SIGTERM",
        json_schema_extra={"metavar": "SECONDS"},
    )
    deadline_margin: float = Field(
        default=2,
        ge=0,
        allow_inf_nan=False,
        description="seconds before a platform's deadline (AWS Lambda's timeout) at which "
        "generation ends; a last token, formatting and storing must fit into them. No effect where "
        "nothing sets deadlines",
        json_schema_extra={"metavar": "SECONDS"},
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="debug, info, warning or error",
        json_schema_extra={"metavar": "LEVEL"},
    )

    prices: Annotated[dict[str, Price], NoDecode] = Field(
        default={},
        description="dollars per million tokens for each model, as JSON: "
        '{"NAME": {"prompt": 0.2, "cached": 0.05, "completion": 0.6}}; in the file a section '
        '[prices."NAME"] each. cached is the prompt\'s unless it is given',
        json_schema_extra={"metavar": "JSON"},
    )
    models: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default={},
        description="defaults of request fields for each of the model's names, further models, and "
        'models that somebody else serves, as JSON; in the file a section [models."NAME"] each',
        json_schema_extra={"metavar": "JSON"},
    )
    models_max: int = Field(
        default=0,
        ge=0,
        description="own models that are loaded at once, where there are several; 0 for as many "
        "as there is memory for. The least recently used one makes room",
        json_schema_extra={"metavar": "N"},
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over the file; raises `ConfigurationError`."""
        named = (env_settings() | init_settings()).get("config")
        file = settings_file.find(named)
        return (
            InitSettingsSource(cls, {"config": file}),
            init_settings,
            env_settings,
            InitSettingsSource(cls, settings_file.read(file) if file else {}),
        )

    @field_validator("models", "tenant_retention_days", "prices", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        """A flag's or a variable's text; a file has tables already."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None

    @field_validator(
        *("alias", "api_key", "api_key_hash", "allowed_hosts", "cors_origins"),
        *("tensor_split", "webhook_secret"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("ubatch_size")
    @classmethod
    def _check_ubatch(cls, size: int, info: ValidationInfo) -> int:
        batch = info.data.get("batch_size")
        if batch is not None and size > batch:
            raise ValueError(f"{size} are more than the {batch} of a whole batch (--batch-size)")
        return size

    @field_validator("alias")
    @classmethod
    def _check_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not re.fullmatch(MODEL_NAME, name) or len(name) > 256:
                raise ValueError(
                    f"'{name}' is no model name: it takes up to 256 letters, digits and . - _ / :, "
                    "and begins and ends with a letter or digit"
                )
        return names

    @field_validator("allowed_hosts")
    @classmethod
    def _check_hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not re.fullmatch(r"[^\[\]:/?#@\s*]+|[0-9a-fA-F:.]+", host):
                raise ValueError(
                    f"'{host}' is no host's name or address: leave out scheme, port and brackets"
                )
        return hosts

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin not in ("*", "localhost") and not re.fullmatch(_ORIGIN, origin):
                raise ValueError(
                    f"'{origin}' is no origin as browsers send it, such as https://app.example.com "
                    "or http://10.0.0.7:3000: scheme, host and port (none if it is the scheme's "
                    "own), in lower case, without a path or a final slash"
                )
        return origins

    @field_validator("api_key_hash")
    @classmethod
    def _check_hashes(cls, hashes: list[str]) -> list[str]:
        for position, found in enumerate(hashes, 1):
            if not re.fullmatch("[0-9a-fA-F]{64}", found):
                # Not the value: somebody may have set the key itself.
                raise ValueError(
                    f"number {position} is no SHA-256 hash, which has 64 hexadecimal digits; "
                    "printf %s KEY | sha256sum prints a key's"
                )
        return [found.lower() for found in hashes]

    @field_validator("store")
    @classmethod
    def _check_store(cls, location: str) -> str:
        return check_location(location)

    @field_validator("accounts")
    @classmethod
    def _check_accounts(cls, is_on: bool, info: ValidationInfo) -> bool:
        if is_on and info.data.get("store") == "none":
            raise ValueError("accounts need a store, which is 'none' (--store)")
        return is_on

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secrets(cls, secrets: list[SecretStr]) -> list[SecretStr]:
        for position, secret in enumerate(secrets, 1):
            prefix, _, encoded = secret.get_secret_value().partition("_")
            try:
                n_bytes = len(base64.b64decode(encoded, validate=True))
            except ValueError:
                n_bytes = 0
            if prefix != "whsec" or n_bytes < _SHORTEST_SECRET:
                # Not the value, which is secret.
                raise ValueError(
                    f"number {position} is not whsec_ and the base64 of {_SHORTEST_SECRET} bytes "
                    "or more; echo whsec_$(openssl rand -base64 32) prints one"
                )
        return secrets

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook(cls, url: str, info: ValidationInfo) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            host, scheme, _ = parts.hostname, parts.scheme, parts.port
        except ValueError:
            host, scheme = None, ""
        # Not the value, in which there may be a secret.
        if not host or scheme not in ("https", "http") or not url.isascii() or " " in url:
            raise ValueError("it is no URL such as https://example.com/alerts")
        if scheme == "http" and host not in LOOPBACK:
            raise ValueError("it has to begin with https:// unless it is this machine's")
        if not info.data.get("webhook_secret"):
            raise ValueError("webhooks are signed: it needs a secret (--webhook-secret)")
        return url

    @field_validator("alert_topic")
    @classmethod
    def _check_topic(cls, arn: str) -> str:
        topic = r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?"
        if arn and not re.fullmatch(topic, arn):
            raise ValueError(
                "it is no SNS topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:alerts"
            )
        return arn

    @field_validator("models")
    @classmethod
    def _check_models(
        cls, models: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        priced: Mapping[str, UpstreamModel | OwnModel]
        priced = {**upstream_models(models), **own_sections(models)}
        prices = info.data.get("prices", {})
        for name, model in priced.items():
            if model.price is not None and name in prices:
                raise ValueError(f'[models."{name}"]: its price is in [prices."{name}"], too')
        return models

    @model_validator(mode="after")
    def _check_names_of_models(self) -> Self:
        """Names are unique. Upstreams' keys are taken from the environment as all settings are."""
        own = [name for settings in self.own.values() for name in settings.names]
        for name in (*own, *self.upstreams):
            if own.count(name) + (name in self.upstreams) > 1:
                raise ValueError(
                    f'[models."{name}"]: another model has this name: call one of them otherwise'
                )
        for name in self.models if len(self.own) > 1 else ():
            if name not in own and name not in self.upstreams:
                raise ValueError(
                    f'[models."{name}"]: no model has this name, only {", ".join(own)}; '
                    "a 'source' would make it one"
                )
        _ = self.stand_ins
        return self

    @cached_property
    def stand_ins(self) -> dict[str, StandIns]:
        """Who answers where a model fails or is cold, by each name of the models that have some."""
        sections: Mapping[str, OwnModel | UpstreamModel]
        sections = {**own_sections(self.models), **self.upstreams}
        own = {settings.names[0]: settings.names for settings in self.own.values()}
        known = {*self.upstreams, *(name for names in own.values() for name in names)}
        found = stand_ins(sections, known)
        return {name: each for first, each in found.items() for name in own.get(first, (first,))}

    @cached_property
    def upstreams(self) -> dict[str, UpstreamModel]:
        """Models that somebody else serves, by name."""
        return upstream_models(self.models)

    @cached_property
    def own(self) -> dict[str, Settings]:
        """Settings of each model that this server loads, by its first name; the default one first.

        That is ``model``, unless only sections name models.
        """
        sections = own_sections(self.models)
        if not sections:
            return {self.names[0]: self}
        own = {name: self._own(name, section) for name, section in sections.items()}
        if "model" not in self.model_fields_set or self.model == NONE:
            return own
        taken = {name for settings in own.values() for name in settings.names}
        rest = {
            name: section
            for name, section in self.models.items()
            if name not in taken and not is_upstream(section)
        }
        default = _OwnSettings(**{**self._fields(), "models": rest})
        return {default.names[0]: default, **own}

    @property
    def loaded_at_start(self) -> frozenset[str]:
        """First names of further own models that are loaded at the start."""
        sections = own_sections(self.models)
        return frozenset(name for name, section in sections.items() if section.load == "start")

    def _own(self, name: str, section: OwnModel) -> Settings:
        """Settings of the model of a section; raises `ValueError`."""
        own = section.settings
        names = [name, *own.pop("alias", [])]
        flat = {
            alias: self.models[alias]
            for alias in names[1:]
            if alias in self.models and not is_own(self.models[alias])
        }
        defaults = {each: {**section.defaults, **flat.get(each, {})} for each in names}
        fields = {
            **self._fields(),
            **own,
            "model": section.source,
            "alias": names,
            "models": {each: values for each, values in defaults.items() if values},
        }
        try:
            return _OwnSettings(**fields)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, detail["loc"]))
            message = detail["msg"].removeprefix("Value error, ")
            raise ValueError(f"[models.\"{name}\"]: '{field}': {message}") from None

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def price(self, model: str) -> Price | None:
        """The price of a model's tokens; None where it has none."""
        return self._prices.get(model)

    @cached_property
    def _prices(self) -> dict[str, Price]:
        priced: Mapping[str, UpstreamModel | OwnModel]
        priced = {**self.upstreams, **own_sections(self.models)}
        found = {name: model.price for name, model in priced.items() if model.price is not None}
        return {**self.prices, **found}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of ``model``."""
        return tuple(self.alias or [default_name(self.model)])

    @property
    def has_own_model(self) -> bool:
        """Whether there is a model besides those that somebody else serves."""
        return self.model != NONE or bool(own_sections(self.models))

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that requests may call the default model by; the first one is its own."""
        return next(iter(self.own.values())).names

    @property
    def needs_key(self) -> bool:
        """Whether requests need an API key."""
        return bool(self.api_key or self.api_key_hash or self.accounts)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK


class _OwnSettings(Settings):
    """Settings of one of several own models: made from all settings, not read from anywhere."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone."""
        return (init_settings,)
