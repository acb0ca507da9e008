"""Tools and which of them the model may, or must, call: ``tools``, ``tool_choice``, ..."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from shared.protocol.response_format import Schema
from shared.protocol.strict import Items, Strict, missing_field

MAX_TOOLS = 128
"""OpenAI's limit."""

FunctionName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]


def _refuse_custom(kind: object) -> object:
    if kind == "custom":
        raise PydanticCustomError(
            "unsupported_value",
            "custom tools are not supported, only tools of type 'function' "
            "(docs/roadmap.md says what they need)",
        )
    return kind


Functions = BeforeValidator(_refuse_custom)
"""Annotates the type of a tool: OpenAI's other type, ``custom``, is refused in words."""
ToolType = Annotated[Literal["function"], Functions]


def _choice(*words: str) -> BeforeValidator:
    """Says of a wrong word what else there is, which a union's own complaint would not."""

    def check(value: object) -> object:
        if isinstance(value, str) and value not in words:
            raise PydanticCustomError(
                "choice",
                "Input should be {words} or an object that names a function",
                {"words": ", ".join(f"'{word}'" for word in words)},
            )
        return value

    return BeforeValidator(check)


_OTHER_NAMES = ("input_schema", "inputSchema", "json_schema", "jsonSchema", "schema")
"""What other APIs call ``function.parameters``."""


def _refuse_misplaced(extra: dict[str, Any] | None, names: tuple[str, ...]) -> None:
    """Complain of a form that calls would not follow where it stands."""
    for name in names:
        if extra and extra.get(name):
            raise PydanticCustomError(
                "unsupported_parameter",
                "'{field}' has no effect there: a tool is described by 'function.name', "
                "'function.description', 'function.parameters' and 'function.strict'",
                {"field": name},
            )


class FunctionDefinition(Strict):
    """A tool's function: ``parameters`` is a JSON Schema."""

    passes_unknown_fields: ClassVar[bool] = True

    name: FunctionName
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> FunctionDefinition:
        _refuse_misplaced(self.__pydantic_extra__, _OTHER_NAMES)
        return self


class Tool(Strict):
    """One of ``tools``."""

    passes_unknown_fields: ClassVar[bool] = True

    type: ToolType
    function: FunctionDefinition

    @model_validator(mode="after")
    def _check(self) -> Tool:
        _refuse_misplaced(self.__pydantic_extra__, ("strict", "parameters", *_OTHER_NAMES))
        return self


class NamedFunction(Strict):
    """``{"name": ...}``."""

    name: FunctionName


class AllowedTool(Strict):
    """One of ``allowed_tools.tools``, and the choice of one tool."""

    type: ToolType
    function: NamedFunction


class AllowedTools(Strict):
    """``tool_choice.allowed_tools``: a subset of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[AllowedTool], Items(MAX_TOOLS, least=1)]


class NamedToolChoice(Strict):
    """``tool_choice`` as an object: one function, or a subset of the tools."""

    type: Annotated[Literal["function", "allowed_tools"], Functions]
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None

    @model_validator(mode="after")
    def _check(self) -> NamedToolChoice:
        if getattr(self, self.type) is None:
            raise missing_field(self.type)
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


ToolChoice = Annotated[
    Literal["none", "auto", "required"] | NamedToolChoice, _choice("none", "auto", "required")
]
FunctionChoice = Annotated[Literal["none", "auto"] | NamedFunction, _choice("none", "auto")]
