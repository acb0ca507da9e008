"""Keys of upstreams, by references to where they are: the environment, or one of AWS's stores.

What AWS keeps is read when a server starts, again when it is older than five minutes, and after an
upstream has refused it: a key that was replaced is taken up without a restart.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time

from shared.protocol.errors import APIError

_REFRESH_SECONDS = 300.0
_RETRY_SECONDS = 5.0
"""Between two tries to read a key."""
_AWS = ("ssm", "secretsmanager")
_NAME = r"[!-~]{1,2048}"

_log = logging.getLogger("pilotlight.upstreams")


class UpstreamKey:
    """Key of an upstream; `repr` shows where it is and not what."""

    def __init__(self, reference: str) -> None:
        """``reference``: ``env:NAME``, ``ssm:NAME``, or ``secretsmanager:NAME`` with ``#FIELD``.

        Raises `ValueError`, which shows nothing that may be a key.
        """
        kind, _, name = reference.partition(":")
        self.reference = reference
        self._kind, self._name = kind, name
        self._value = ""
        self._read_at = self._tried_at = -_REFRESH_SECONDS
        self._lock = threading.Lock()
        if kind == "env" and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            self._value = _checked(os.environ.get(name, ""), f"the environment variable {name}")
        elif kind not in _AWS or not re.fullmatch(_NAME, name):
            raise ValueError(
                "say where the key is: 'env:NAME' for an environment variable, 'ssm:NAME' for a "
                "parameter of AWS Systems Manager, 'secretsmanager:NAME' for a secret of AWS "
                "Secrets Manager"
            )

    def __repr__(self) -> str:
        return f"UpstreamKey({self.reference!r})"

    @property
    def is_read(self) -> bool:
        """Whether there is a value."""
        return bool(self._value)

    def get_secret_value(self) -> str:
        """The key. Raises `APIError` 503 where it could not be read yet."""
        if self._kind != "env" and time.monotonic() - self._read_at > _REFRESH_SECONDS:
            self.renew()
        if not self._value:
            raise APIError(
                503,
                "The key for the upstream of this model can't be read right now. The server's log "
                "says why.",
                type="server_error",
                code="upstream_key_unavailable",
                headers={"retry-after": str(int(_RETRY_SECONDS))},
            )
        return self._value

    def renew(self) -> None:
        """Read the key again, on a thread, unless that was tried a moment ago."""
        if self._kind != "env" and time.monotonic() - self._tried_at > _RETRY_SECONDS:
            self._tried_at = time.monotonic()
            threading.Thread(target=self.read, name="upstream-key", daemon=True).start()

    def read(self) -> None:
        """Read the key where it has to be read; what goes wrong is in the log."""
        if self._kind == "env":
            return
        with self._lock:
            self._tried_at = time.monotonic()
            try:
                self._value = _from_aws(self._kind, self._name)
            except Exception as error:  # of boto3 and botocore: many kinds
                _log.error("the key %s can't be read: %s", self.reference, _reason(error))
            else:
                self._read_at = time.monotonic()


def _from_aws(service: str, name: str) -> str:
    """The key in one of AWS's stores; raises botocore's errors, and `ValueError`."""
    import boto3
    from botocore.config import Config

    found = re.match(r"arn:[a-z-]+:[a-z]+:([a-z0-9-]+):", name)
    limits = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
    region = found[1] if found else None
    if service == "ssm":
        parameters = boto3.client("ssm", region_name=region, config=limits)
        answer = parameters.get_parameter(Name=name, WithDecryption=True)
        return _checked(answer["Parameter"]["Value"], "its value")
    name, _, field = name.partition("#")
    secrets = boto3.client("secretsmanager", region_name=region, config=limits)
    text = secrets.get_secret_value(SecretId=name).get("SecretString", "")
    return _checked(_field(text, field), "its value")


def _field(text: str, field: str) -> str:
    """A field of a secret that is a JSON object, as the console makes them; else the text."""
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        if field:
            raise ValueError(f"it has no fields, so none is called '{field}'")
        return text
    if field not in data:
        known = ", ".join(map(str, data)) or "none"
        raise ValueError(f"say which of its fields it is, with #NAME at the end: {known}")
    return str(data[field])


def _checked(key: str, what: str) -> str:
    """A key without surrounding space. Raises `ValueError` for what can be none; never shows it."""
    key = key.strip()
    if not key:
        raise ValueError(f"{what} is not set")
    if not re.fullmatch("[!-~]+", key):
        raise ValueError(
            f"{what} has spaces, line breaks or other characters within it that no key has"
        )
    return key


def _reason(error: Exception) -> str:
    """What is wrong, of what botocore says: it has no values of parameters and secrets."""
    return f"{type(error).__name__}: {error}"
