"""AuthorizerFunction: Lambda authorizer of API Gateway, which lets requests with a valid key pass.

So a request without one never starts the function with the model, whose memory and start are what
costs money. That function checks the key all the same: whose it is, and what it is for.

API Gateway keeps an answer for as long as the template says, 30 s, and gives it to all requests
with the same header; so a key is looked up here each time. Little is imported: where the only keys
are those of settings, what hashing needs.

- REST API (authorizer of type ``TOKEN``): a policy for the whole stage. One that denies is kept as
  well, whereas an error would not be.
- HTTP API (payload format 2.0, simple responses): ``{"isAuthorized": false}``.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shared.accounts.key_format import hash_of, is_key
from shared.runtime.bearer_token import bearer_token
from shared.runtime.configured_keys import ConfiguredKeys

if TYPE_CHECKING:
    from shared.accounts.accounts import Accounts

_NOBODY = "nobody"
"""Name of the caller in a policy that denies."""


class Authorizer:
    """Authorizer of both kinds of API. ``accounts`` are asked for keys that are not configured."""

    def __init__(self, keys: ConfiguredKeys, accounts: Accounts | None) -> None:
        self._keys = keys
        self._accounts = accounts

    def __call__(self, event: Any, _: object) -> dict[str, Any]:
        """The answer to one event.

        Raises `shared.storage.base.StoreError` where nobody can tell whose the key is; API Gateway
        makes 503 of that, and asks again next time.
        """
        if event.get("type") == "TOKEN":
            return _policy(event["methodArn"], self._owner(event["authorizationToken"]))
        authorization = event.get("headers", {}).get("authorization", "")
        return {"isAuthorized": self._owner(authorization) is not None}

    def _owner(self, authorization: str) -> str | None:
        """Id of the key in a header, None if it is nobody's that is in force."""
        key = bearer_token(authorization.encode())
        if key is None:
            return None
        if configured := self._keys.owner(key):
            return configured.key_id
        if self._accounts is None or not is_key(key):
            return None
        holder = self._accounts.keys.holder(hash_of(key), notes_use=False)
        return None if holder is None else holder.key.id


def _policy(method_arn: str, owner: str | None) -> dict[str, Any]:
    """An IAM policy for all methods of the stage: it is kept for the key, whatever it asks next.

    ``method_arn``: ``arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH``.
    """
    stage = "/".join(method_arn.split("/")[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Deny" if owner is None else "Allow",
        "Resource": f"{stage}/*",
    }
    return {
        "principalId": owner or _NOBODY,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }


def _initialize() -> Authorizer:
    """An authorizer by the variables of `shared.config.settings` that say which keys there are.

    Without that module: its validation takes longer to import than all of this, and the other
    functions of the deployment have the same values.
    """
    hashes = os.environ["PILOTLIGHT_API_KEY_HASH"].split(",")
    accounts = None
    if os.environ.get("PILOTLIGHT_ACCOUNTS") == "true":
        from shared.accounts.accounts import open_accounts

        accounts = open_accounts(os.environ["PILOTLIGHT_STORE"])
        accounts.warm_up()
    return Authorizer(ConfiguredKeys([], hashes), accounts)


handler = _initialize()
