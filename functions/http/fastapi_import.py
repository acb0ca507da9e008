"""FastAPI, imported so that it takes less time: whoever needs it takes it from here.

It has pydantic models of all that an OpenAPI document consists of, and builds them while it is
imported: here they are built when they are needed (36 ms of 104). For each model of a route it asks
whether it is one of pydantic 1's, and would import that in order to know (30 ms).
"""

from __future__ import annotations

import sys
import warnings

from pydantic import BaseModel
from pydantic.warnings import UnsupportedFieldAttributeWarning

sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # no such model is here
BaseModel.model_config["defer_build"] = True
try:
    from fastapi import APIRouter, Depends, FastAPI, Query, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.routing import APIRoute
finally:
    del BaseModel.model_config["defer_build"]

# FastAPI ignores it while it makes a route: schemas that are deferred are built later.
warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)

__all__ = [
    "APIRoute",
    "APIRouter",
    "Depends",
    "FastAPI",
    "Query",
    "Request",
    "RequestValidationError",
]
