"""Errors of upstreams, as callers are told of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import orjson

from shared.config.upstreams import UpstreamModel
from shared.protocol.errors import APIError, shortened

_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
_LONGEST_TEXT = 2000
_REDACTED = "[key]"
_AWS_ERROR = "x-amzn-errortype"
"""Header with the kind of an error of Bedrock's, whose body has the message alone."""

SERVED_BY = "x-pilotlight-served-by"
"""Header that tells who served an answer, or failed to: host and port of the upstream."""


class UpstreamError(APIError):
    """An error of an upstream. ``upstream`` is what that one said, under ``error.upstream``."""

    def __init__(
        self,
        upstream: UpstreamModel,
        status: int,
        message: str,
        *,
        said: Mapping[str, Any] | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            status,
            message,
            type="upstream_error",
            param=param,
            code=code,
            headers={**(headers or {}), SERVED_BY: upstream.served_by},
        )
        self.upstream = dict(said or {})

    def envelope(self) -> dict[str, dict[str, Any]]:
        """The envelope, with what the upstream said where it said something."""
        error: dict[str, Any] = {**super().envelope()["error"]}
        if self.upstream:
            error["upstream"] = self.upstream
        return {"error": error}


def unreachable(upstream: UpstreamModel) -> UpstreamError:
    """502: no connection, one that broke off, or an answer that is not HTTP."""
    return UpstreamError(
        upstream,
        502,
        f"The connection to {upstream.served_by}, which serves this model, failed. Try again.",
        code="upstream_connection_failed",
    )


def timed_out(upstream: UpstreamModel) -> UpstreamError:
    """504: the answer was not complete in time."""
    return UpstreamError(
        upstream,
        504,
        f"{upstream.served_by}, which serves this model, did not answer completely in time.",
        code="upstream_timeout",
    )


def unavailable(upstream: UpstreamModel, seconds: float) -> UpstreamError:
    """503: it has failed again and again, and is left alone for some seconds."""
    return UpstreamError(
        upstream,
        503,
        f"{upstream.served_by}, which serves this model, has failed several times in a row. It is "
        f"asked again in {math.ceil(seconds)} s.",
        code="upstream_unavailable",
        headers={"retry-after": str(math.ceil(seconds))},
    )


def too_large(upstream: UpstreamModel) -> UpstreamError:
    """502: more bytes than the configuration takes."""
    return UpstreamError(
        upstream,
        502,
        f"{upstream.served_by} answers with more than {upstream.max_answer_size} bytes, the limit "
        "'max_answer_size' of this model.",
        code="upstream_answer_too_large",
    )


def compressed(upstream: UpstreamModel) -> UpstreamError:
    """502: an encoding that nobody asked for."""
    return UpstreamError(
        upstream,
        502,
        f"{upstream.served_by} answers compressed, although it was asked not to.",
        code="upstream_answer_encoded",
    )


def incomplete(upstream: UpstreamModel) -> UpstreamError:
    """502: a stream that ends without saying so."""
    return UpstreamError(
        upstream,
        502,
        f"The answer of {upstream.served_by}, which serves this model, broke off. Try again.",
        code="upstream_answer_incomplete",
    )


def no_credentials(upstream: UpstreamModel) -> UpstreamError:
    """502: this server has no credentials for the upstream, or can't get them."""
    return UpstreamError(
        upstream,
        502,
        f"This server has no credentials for {upstream.served_by}. Whoever runs it finds more in "
        "its log.",
        code="upstream_authentication_failed",
    )


def malformed(upstream: UpstreamModel) -> UpstreamError:
    """502: an answer that is none of the upstream's API."""
    return UpstreamError(
        upstream,
        502,
        f"{upstream.served_by} answers with something that is no answer of its API. Whoever runs "
        "this server can check the model's 'upstream' and 'dialect'.",
        code="upstream_answer_malformed",
    )


def refusal(
    upstream: UpstreamModel, status: int, headers: Mapping[str, str], body: bytes
) -> UpstreamError:
    """What an upstream's answer with another status than 2xx means: errors keep theirs.

    ``body`` is empty where it is too large to be shown.
    """
    if status < 400:
        return UpstreamError(
            upstream,
            502,
            f"{upstream.served_by} answers with a redirect ({status}), which is not followed. "
            "Whoever runs this server can correct the model's 'upstream'.",
            code="upstream_redirect",
        )
    # Answers to wrong keys show parts of them, and AWS' name accounts and roles.
    if status == 401 or (status == 403 and upstream.dialect == "bedrock"):
        return UpstreamError(
            upstream,
            status,
            f"{upstream.served_by} does not accept this server's key for it. Your own key is not "
            "meant: whoever runs this server can correct the model's 'key'.",
            said={"status": status},
            code="upstream_authentication_failed",
        )
    error = _error_of(body, upstream)
    if _AWS_ERROR in headers and isinstance(error, dict):
        error = {"type": headers[_AWS_ERROR].partition(":")[0], **error}
    fields = error if isinstance(error, dict) else {}
    message = fields.get("message")
    said: dict[str, Any] = {"status": status}
    if error:
        said["error"] = error
    return UpstreamError(
        upstream,
        status,
        message if isinstance(message, str) else f"{upstream.served_by} answers {status}.",
        said=said,
        param=_text(fields.get("param")),
        code=_text(fields.get("code")) or "upstream_refused",
        headers={
            name: headers[name]
            for name in _PASSED_ON
            if re.fullmatch(r"[\w.:, +-]{1,64}", headers.get(name, ""), re.ASCII)
            and not (upstream.key and upstream.key.get_secret_value() in headers[name])
        },
    )


def _error_of(body: bytes, upstream: UpstreamModel) -> Any:
    """The error object of a body, or the text that it has in place of one, without the key."""
    secret = "" if upstream.key is None else upstream.key.get_secret_value()
    try:
        # Written anew: with escapes the key could look otherwise.
        text = orjson.dumps(orjson.loads(body)).decode()
        data = orjson.loads(_redacted(text, orjson.dumps(secret).decode()[1:-1]))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):  # the latter where it is deep
        text = _redacted(body.decode("utf-8", "replace"), secret)
        return shortened(text, _LONGEST_TEXT)
    if isinstance(data, list) and data:  # as of Gemini's compatible endpoint
        data = data[0]
    return data.get("error", data) if isinstance(data, dict) else data


def _redacted(text: str, secret: str) -> str:
    return text.replace(secret, _REDACTED) if secret else text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
