"""Dialect of Bedrock's Converse API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson

from shared.config.upstreams import UpstreamModel
from shared.upstreams import errors
from shared.upstreams.dialects.bedrock_answer import BedrockReader
from shared.upstreams.dialects.bedrock_request import converse_request
from shared.upstreams.dialects.dialect import AnswerReader, Endpoint, UpstreamDialect, WireRequest
from shared.upstreams.dialects.request_fields import chat_only, nested_too_deeply
from shared.upstreams.headers import Headers


class BedrockDialect(UpstreamDialect):
    """Converse with one model, by a Bedrock API key or with AWS credentials."""

    def __init__(self, name: str, upstream: UpstreamModel) -> None:
        super().__init__(name, upstream)
        self._model = upstream.model or name

    def request(self, endpoint: Endpoint, fields: Mapping[str, Any]) -> WireRequest:
        """``POST /model/{model}/converse``, or ``converse-stream``; no text completions."""
        if endpoint != "chat":
            raise chat_only(self.name)
        body = converse_request(fields, self._model, self.upstream.served_by)
        operation, accept = "converse", b"application/json"
        if fields.get("stream"):
            operation, accept = "converse-stream", b"application/vnd.amazon.eventstream"
        headers: Headers = [(b"accept", accept)]
        if self.upstream.key is not None:
            key = self.upstream.key.get_secret_value()
            headers.append((b"authorization", b"Bearer " + key.encode()))
        path = f"/model/{quote(self._model, safe='')}/{operation}"
        try:
            return WireRequest(path, headers, orjson.dumps(body))
        except orjson.JSONEncodeError:
            raise nested_too_deeply() from None

    async def authorized(self, request: WireRequest) -> WireRequest:
        """The request, signed where there is no key.

        Raises `UpstreamError` 502 without credentials, 504 where they can't be had in time.
        """
        region = self.upstream.region
        if self.upstream.key is not None or region is None:
            return request
        url = self.upstream.upstream + request.path
        try:
            async with asyncio.timeout(self.upstream.timeout):
                headers = await asyncio.to_thread(_signed, url, request, region)
        except TimeoutError:
            raise errors.timed_out(self.upstream) from None
        if headers is None:
            raise errors.no_credentials(self.upstream)
        return replace(request, headers=headers)

    def reader(self, endpoint: Endpoint) -> AnswerReader:  # noqa: ARG002
        """A reader of the answer."""
        return BedrockReader(self.upstream)


def _signed(url: str, request: WireRequest, region: str) -> Headers | None:
    """The headers with a signature; on a thread, since importing botocore alone takes 0.25 s."""
    from shared.upstreams.dialects import bedrock_credentials

    return bedrock_credentials.signer.signed(url, request.headers, request.body, region)
