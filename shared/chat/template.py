"""Chat templates: the Jinja program in a model's file that turns messages into a prompt.

Prompts are those of the ``transformers`` library's ``apply_chat_template``, which model authors
test with: `shared.chat.jinja.environment` has the helpers, this file what templates are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.meta import TrackingCodeGenerator

from shared.chat.control_tokens import InputMarks
from shared.chat.jinja.budget import Budget, spending
from shared.chat.jinja.environment import ChatEnvironment
from shared.chat.tool_call_form import ToolCallForm, find_tool_call_form

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For models whose file has no template: the format that most of them know."""

TIME_LIMIT_S = 2.0
"""Processor time that a rendering may take. Usual ones take less than a millisecond."""

MAX_CHARACTERS = 2**25
"""What a rendering may add to the texts that it is given by indenting and repeating."""

MAX_SOURCE = 2**17
"""Characters of a template: the longest in use have a third of that, and compile in 0.1 s."""

_ENVIRONMENT = ChatEnvironment()

RESERVED = frozenset(_ENVIRONMENT.globals) | {
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "bos_token",
    "eos_token",
}
"""Names that mean something else to a template than a caller's variable."""

_MARK = "CONTINUE_FINAL_MESSAGE_TAG "
"""Behind a text to be continued. This very one: some templates look for it (LFM 2.5).

It ends with a space to show whether the template strips texts.
"""

_REASONING = ("reasoning_content", "thinking", "reasoning")
"""What a message's reasoning is called; the names that templates read come first."""


class TemplateError(ValueError):
    """The template is broken, or refuses the messages; the text is its own message."""


class ChatTemplate:
    """A compiled chat template."""

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        control_tokens: Iterable[str] = (),
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """Compile ``source``; raises `TemplateError` when it is no valid template.

        ``control_tokens`` are texts that only the template itself may write.
        """
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._time_limit_s = time_limit_s
        if len(source) > MAX_SOURCE:
            raise TemplateError(
                f"the chat template has {len(source)} characters, more than {MAX_SOURCE}"
            )
        try:
            compiled = _compiled(source)
        except Exception as error:  # Python compiles it too, and has errors of its own
            raise TemplateError(f"the chat template can't be compiled: {error}") from error
        self.variables = compiled.variables
        """What it reads from outside: whether it knows tools, ``enable_thinking``, ...

        Names that it sets itself, but not in every case, are among them.
        """
        self._marks = InputMarks(control_tokens, compiled.literals)
        self._template = compiled.template

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for ``messages``.

        It ends with the head of an answer (``add_generation_prompt``, the default), with the
        unfinished text of the last message (``continue_final_message``), or with the end of the
        last message (neither).

        ``variables`` reach the template as they are (``enable_thinking``, ``reasoning_effort``,
        ...), except for those that are `RESERVED`.

        With control tokens there are marks in it: `ControlTokens.prompt` knows what they mean.

        Raises `TemplateError` with the template's own message when it refuses, and when the last
        message can't be continued.
        """
        if continue_final_message and add_generation_prompt:
            raise TemplateError(
                "add_generation_prompt begins a new message: it excludes continue_final_message"
            )
        prepared = [_prepared(message) for message in messages]
        if any("tool_calls" in message for message in prepared):
            prepared = [self._tool_call_form.applied(message) for message in prepared]
        try:
            prepared = [self._marked(message) for message in prepared]
            tools, variables = self._marks.mark(tools), self._marks.mark(variables or {})
        except RecursionError as error:
            raise TemplateError("objects are nested too deep") from error
        continuation = _Continuation(prepared) if continue_final_message else None
        prompt = self._rendered(
            prepared,
            tools=tools,
            add_generation_prompt=not continue_final_message and add_generation_prompt is not False,
            variables=variables,
        )
        return continuation.cut(prompt) if continuation else prompt

    def _marked(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """``message`` with marks, but for its role, which some templates make a token of."""
        marked: dict[str, Any] = self._marks.mark(message)
        if "role" in message:
            marked["role"] = message["role"]
        return marked

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        variables: Mapping[str, Any],
    ) -> str:
        given = {
            "documents": None,
            **{name: value for name, value in variables.items() if name not in RESERVED},
            **self._tokens,
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            with spending(Budget(self._time_limit_s, MAX_CHARACTERS)):
                return self._template.render(given)
        except Exception as error:  # a template is a program, and can fail in any way
            raise TemplateError(str(error) or type(error).__name__) from error

    @cached_property
    def _tool_call_form(self) -> ToolCallForm:
        def trial(messages: Sequence[Mapping[str, Any]]) -> str | None:
            try:
                return self._rendered(
                    messages, tools=None, add_generation_prompt=False, variables={}
                )
            except TemplateError:
                return None

        return find_tool_call_form(trial)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What a template's source alone makes; ``literals`` are all texts that it has."""

    template: jinja2.Template
    variables: frozenset[str]
    literals: tuple[str, ...]


@lru_cache(maxsize=4)
def _compiled(source: str) -> _Compiled:
    """A source, compiled once for all that is asked of it: 45 ms for the built-in model's.

    A start asks for it twice, with control tokens and without.
    """
    tree = _ENVIRONMENT.parse(source)
    variables, literals = frozenset(_undeclared(tree)), tuple(_literals(tree))
    _ENVIRONMENT.bound(tree)
    return _Compiled(_ENVIRONMENT.from_string(tree), variables, literals)


def _literals(tree: nodes.Template) -> Iterator[str]:
    """All texts that a template has."""
    for data in tree.find_all(nodes.TemplateData):
        yield data.data
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, str):
            yield constant.value


def _undeclared(tree: nodes.Template) -> set[str]:
    """As `jinja2.meta.find_undeclared_variables`, which looks at long sums again and again."""
    generator = TrackingCodeGenerator(_ENVIRONMENT)
    generator.optimizer = None
    generator.visit(tree)
    return generator.undeclared_identifiers


def _prepared(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without empty fields, and with its reasoning under the names templates know."""
    prepared = {name: value for name, value in message.items() if value is not None}
    for name in _REASONING:
        if name in prepared:
            prepared["reasoning_content"] = prepared[name]
            prepared.setdefault("thinking", prepared[name])
            break
    return prepared


class _Continuation:
    """Finds where the last message's text ends in a prompt: behind a mark that is cut off."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        """Put the mark into the last one of ``messages``; raises `TemplateError` if it can't be."""
        role = messages[-1].get("role") if messages else None
        if role != "assistant":
            raise TemplateError(
                f"only an assistant's message can be continued, and the last one's role is {role!r}"
            )
        content = messages[-1].get("content")
        if isinstance(content, str):
            self._text = content
            messages[-1]["content"] = content + _MARK
            return
        parts = list(content or ())
        for index in reversed(range(len(parts))):
            if "text" in parts[index]:
                self._text = parts[index]["text"]
                parts[index] = {**parts[index], "text": self._text + _MARK}
                messages[-1]["content"] = parts
                return
        raise TemplateError("the last message has no text that could be continued")

    def cut(self, prompt: str) -> str:
        """``prompt`` up to the text's end; raises `TemplateError` if the text isn't there."""
        head, mark, tail = prompt.rpartition(_MARK.strip())
        if not mark or self._text.strip() not in head:
            raise TemplateError("the chat template changes the last message: it can't be continued")
        return head if tail.startswith(" ") else head.rstrip()
