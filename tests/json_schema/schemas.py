"""Schemas as libraries write them.

``library_schemas.json`` holds what pydantic 2.14 and 2.12, zod 3 (with zod-to-json-schema) and 4,
openai-node's helpers and instructor make of models with every kind of field that they have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

LIBRARY_SCHEMAS: dict[str, Schema] = json.loads(
    Path(__file__).with_name("library_schemas.json").read_text(encoding="utf-8")
)
