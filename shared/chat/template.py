"""Chat templates: the Jinja program in a model's file that turns messages into a prompt.

The environment is the one that model authors test with, that of the ``transformers`` library's
``apply_chat_template``: sandboxed, ``trim_blocks`` and ``lstrip_blocks`` on, a ``tojson`` that
keeps the order of keys and escapes nothing, ``raise_exception`` and ``strftime_now``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""For models whose file has no template: the format that most of them know."""


class TemplateError(ValueError):
    """The template is broken, or refuses the messages; the text is its own message."""


class ChatTemplate:
    """A compiled chat template."""

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = "") -> None:
        """Compile ``source``; raises `TemplateError` when it is no valid Jinja."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template can't be compiled: {error}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for ``messages``.

        ``variables`` reach the template as they are (``enable_thinking``, ``reasoning_effort``,
        ...). Raises `TemplateError` with the template's own message when it refuses.
        """
        try:
            return self._template.render(
                **self._tokens,
                **(variables or {}),
                messages=messages,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
            )
        except Exception as error:  # a template is a program, and can fail in any way
            raise TemplateError(str(error) or type(error).__name__) from error


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
