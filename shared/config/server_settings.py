"""Settings of the HTTP server: address, keys, limits for clients, shutdown, log."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.config.prefix_settings import PrefixSettings
from shared.config.texts import split
from shared.config.upstreams import LOOPBACK

_LONGEST = 86_400
"""Seconds of a day: what clocks and timers of the operating system take is not without limits."""
_ORIGIN = (
    r"(?!http://[^/]*:80$)(?!https://[^/]*:443$)"
    r"[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?"
)
"""An origin as browsers spell it. https://html.spec.whatwg.org/#ascii-serialisation-of-an-origin"""


class ServerSettings(PrefixSettings):
    """Who may connect, with which keys, and how long requests may take."""

    host: Annotated[list[str], NoDecode] = Field(
        default=["127.0.0.1"],
        min_length=1,
        description="addresses to listen on, comma-separated or one by one; others than loopback "
        "need an API key",
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
        le=_LONGEST,
        description="seconds for a request's line and headers to arrive; then 408",
        json_schema_extra={"metavar": "SECONDS"},
    )
    transfer_timeout: float = Field(
        default=30,
        gt=0,
        le=_LONGEST,
        description="seconds in which a client has to send the next 16 KiB of a body, or else gets "
        "408, and to take the next 16 KiB of an answer, or else is disconnected",
        json_schema_extra={"metavar": "SECONDS"},
    )
    slots: bool = Field(
        default=True,
        description="true: GET /slots tells what is running, as llama-server does; of others' "
        "requests no more than that they run",
        json_schema_extra={"metavar": "BOOL"},
    )
    grace_period: float = Field(
        default=30,
        ge=0,
        le=_LONGEST,
        description="seconds that running requests get to end after SIGTERM",
        json_schema_extra={"metavar": "SECONDS"},
    )
    deadline_margin: float = Field(
        default=2,
        ge=0,
        le=_LONGEST,
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

    _split_lists = field_validator(
        *("host", "api_key", "api_key_hash", "allowed_hosts", "cors_origins"), mode="before"
    )(split)

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

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return all(host in LOOPBACK for host in self.host)
