"""Frames of AWS' event stream encoding, written by hand.

https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import json
import struct
from binascii import crc32
from typing import Any


def frame(payload: bytes, **headers: str) -> bytes:
    """A frame; headers' names are given without their colon, underscores for hyphens."""
    encoded = b"".join(
        _text(f":{name.replace('_', '-')}", "!B") + b"\x07" + _text(value, "!H")
        for name, value in headers.items()
    )
    return raw_frame(payload, encoded)


def raw_frame(payload: bytes, headers: bytes) -> bytes:
    """A frame with headers as they are encoded."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack("!I", crc32(message))


def event(kind: str, data: Any) -> bytes:
    """An event of ConverseStream."""
    return frame(
        json.dumps(data).encode(),
        event_type=kind,
        content_type="application/json",
        message_type="event",
    )


def exception(kind: str, message: str) -> bytes:
    """An exception within a stream."""
    return frame(
        json.dumps({"message": message}).encode(),
        exception_type=kind,
        content_type="application/json",
        message_type="exception",
    )


def _text(value: str, size: str) -> bytes:
    return struct.pack(size, len(value.encode())) + value.encode()
