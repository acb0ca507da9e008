"""Warm prefix: a file, or an object in S3, with what many prompts begin with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_S3 = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.+)")
_LONGEST = 16 * 2**20
"""Bytes of an object: more than the text of any context."""


def warm_messages(location: str) -> list[dict[str, Any]]:
    """The messages in a file or at ``s3://BUCKET/KEY``.

    It has a JSON list of them, or the text of a system message. Raises `OSError`, and `ValueError`,
    which says what is wrong.
    """
    match = _S3.fullmatch(location)
    if match:
        text = _object(match["bucket"], match["key"]).decode("utf-8")
    else:
        text = Path(location).read_text(encoding="utf-8")
    if not text.lstrip().startswith(("[", "{")):
        return [{"role": "system", "content": text.strip()}]
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it begins like JSON, and is none: {error}") from error
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list) or not messages:
        raise ValueError('it has to be a list of messages, or {"messages": [...]}')
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError("every message needs a role and a content")
    return messages


def _object(bucket: str, key: str) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    from shared.storage.aws_session import new_session

    try:
        client = new_session().client("s3")
        with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            data: bytes = body.read(_LONGEST)
    except (BotoCoreError, ClientError, HTTPClientError) as error:
        raise OSError(str(error)) from error
    return data
