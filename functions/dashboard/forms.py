"""Forms: bodies as browsers send them, read within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict

from shared.protocol.errors import APIError, invalid

if TYPE_CHECKING:
    from starlette.requests import Request

Form = ImmutableMultiDict[str, str]

_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MAX_BYTES = 2**17
"""More than 16 pairs of metadata take."""
_MAX_FIELDS = 200


async def read_form(request: Request) -> Form:
    """The fields of a form; raises `APIError` 400, 413 or 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE:
        raise APIError(415, f"Forms are sent as {_MEDIA_TYPE}.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BYTES:
            raise APIError(413, f"The form is larger than {_MAX_BYTES} bytes.")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise invalid("The form can't be read.", None) from None
    return ImmutableMultiDict(fields)
