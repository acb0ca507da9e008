"""Detection of the tool format: the chat template shows how a model was taught to write calls."""

from __future__ import annotations

import re

from shared.chat.template import ChatTemplate, TemplateError
from shared.chat.tools.base import ToolFormat
from shared.chat.tools.generic import GenericFormat
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat

# What may stand between two parts of a text in a template: white space, quotes, joins and tags.
# Bounded, like all repetition here: a template is somebody else's, and should not take forever.
_GLUE = r"""(?:[\s'"~+{}-]|\\n){0,40}"""
_JSON_NAME = r"""\{\\?"name\\?":"""
_HERMES = re.compile(rf"<tool_call>{_GLUE}{_JSON_NAME}")
_LLAMA3 = re.compile(rf"""{_JSON_NAME}[^{{}}]{{0,80}}{_GLUE}\\?"parameters\\?":""")
_XML = ("<function=", "<arg_key>")


def detect(template_source: str) -> ToolFormat:
    """The format of the model with this chat template.

    Generic for a template that has no variable ``tools``, and for calls that none of the formats
    understands, such as XML between ``<tool_call>`` and ``</tool_call>``.
    """
    try:
        template = ChatTemplate(template_source)
    except TemplateError:  # whoever renders it will hear of that
        return GenericFormat()
    if "tools" in template.variables:
        if "[TOOL_CALLS]" in template_source:
            if "[ARGS]" in template_source:
                return MistralNameFormat(has_ids="[CALL_ID]" in template_source)
            return MistralListFormat()
        if not any(tag in template_source for tag in _XML):
            if _HERMES.search(template_source):
                return HermesFormat()
            if "<|start_header_id|>" in template_source and _LLAMA3.search(template_source):
                return Llama3Format()
    return GenericFormat(has_system_role=_has_system_role(template))


def _has_system_role(template: ChatTemplate) -> bool:
    """Whether a system message gets into the prompt; some templates refuse or ignore it."""
    instructions = "Be brief."
    messages = [
        {"role": "system", "content": instructions},
        {"role": "user", "content": "Hello"},
    ]
    try:
        return instructions in template.render(messages)
    except TemplateError:
        return False
