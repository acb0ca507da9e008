"""AWS' signature of a request, verified as AWS documents it, without its libraries.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote

_AUTHORIZATION = re.compile(
    "AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>[^,]+), "
    "SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def signer_of(path: str, headers: Mapping[str, str], body: bytes, secret: str) -> tuple[str, str]:
    """The access key's id and the scope of a signed POST; fails unless the signature is right."""
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    assert found
    names = found["headers"].split(";")
    assert "host" in names
    canonical = "\n".join(
        [
            "POST",
            "/".join(quote(segment, safe="-._~") for segment in path.split("/")),
            "",
            *(f"{name}:{headers[name]}" for name in names),
            "",
            found["headers"],
            hashlib.sha256(body).hexdigest(),
        ]
    )
    time, scope = headers["x-amz-date"], found["scope"]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}"
    assert hmac.digest(key, text.encode(), "sha256").hex() == found["signature"]
    return found["id"], scope.partition("/")[2]
