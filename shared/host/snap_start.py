"""AWS Lambda's SnapStart, as far as a process sees it."""

from __future__ import annotations

import os


def is_snapshot_being_made() -> bool:
    """Whether this is an initialization whose snapshot all copies start from: nobody waits for it.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
