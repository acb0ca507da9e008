"""What an answer has to look like: ``response_format``, and llama.cpp's and vLLM's short forms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from shared.protocol.strict import Strict, missing_field

GrammarSource = Annotated[str, Field(min_length=1, max_length=2**20)]


class JSONSchemaFormat(Strict):
    """``response_format.json_schema``."""

    model_config = ConfigDict(populate_by_name=True)

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_\-]+$")]
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = Field(
        default=None, description="Accepted without effect: answers always follow the schema."
    )


class ResponseFormat(Strict):
    """``response_format``; ``schema`` beside ``json_object`` is llama-server's."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchemaFormat | None = None
    object_schema: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise missing_field("json_schema")
        return self
