"""Tools and which of them the model may, or must, call: ``tools``, ``tool_choice``, ..."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from shared.protocol.strict import Strict

MAX_TOOLS = 128
"""OpenAI's limit."""

FunctionName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]


class FunctionDefinition(Strict):
    """A tool's function: ``parameters`` is a JSON Schema."""

    model_config = ConfigDict(extra="allow")

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    """One of ``tools``."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    function: FunctionDefinition


class NamedFunction(Strict):
    """``{"name": ...}``."""

    name: FunctionName


class AllowedTool(Strict):
    """One of ``allowed_tools.tools``, and the choice of one tool."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Strict):
    """``tool_choice.allowed_tools``: a subset of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Field(min_length=1)]


class NamedToolChoice(Strict):
    """``tool_choice`` as an object: one function, or a subset of the tools."""

    type: Literal["function", "allowed_tools"]
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None

    @model_validator(mode="after")
    def _check(self) -> NamedToolChoice:
        if getattr(self, self.type) is None:
            raise PydanticCustomError(
                "tool_choice", "type '{type}' needs the field '{type}'", {"type": self.type}
            )
        return self

    @property
    def names(self) -> list[str]:
        """The functions that may be called."""
        if self.allowed_tools is not None:
            return [tool.function.name for tool in self.allowed_tools.tools]
        assert self.function is not None
        return [self.function.name]

    @property
    def is_required(self) -> bool:
        """Whether one of them has to be called."""
        return self.allowed_tools is None or self.allowed_tools.mode == "required"


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice
FunctionChoice = Literal["none", "auto"] | NamedFunction
