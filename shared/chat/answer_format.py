"""Answer format of a model: what is reasoning, what is a tool call, what is content."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.chat.answer_scope import AnswerScope
from shared.chat.deltas import DeltaParser, PlainParser
from shared.chat.reasoning import ReasoningFormat, ReasoningParser
from shared.chat.template import ChatTemplate, TemplateError
from shared.chat.tools import detect

Tools = Sequence[Mapping[str, Any]]

_SWITCHES = ("enable_thinking", "thinking")
"""Variables of templates that ask for reasoning."""


class AnswerFormat:
    """The formats that a model's chat template speaks of."""

    def __init__(self, template: str, control_token: Callable[[str], int | None]) -> None:
        """``control_token`` gives the id of a control token by its text, None for other texts."""
        self.tools = detect(template)
        self.reasoning = ReasoningFormat.detect(template)
        self._opens_on_request = self.reasoning is not None and _opens_on_request(
            template, self.reasoning
        )
        self._control_token = control_token
        markers = self.tools.markers + (self.reasoning.markers if self.reasoning else ())
        ids = {marker: control_token(marker) for marker in markers}
        self.visible_tokens = frozenset(token for token in ids.values() if token is not None)
        """Control tokens that the parsers need to see."""

    def is_thinking(self, prompt: str, begun: str = "") -> bool:
        """Whether ``prompt`` ends within a block of reasoning.

        ``begun`` is the text of the message that the prompt wants continued, if it does.
        """
        if self.reasoning is None:
            return False
        is_unfinished = begun.rfind(self.reasoning.start) > begun.rfind(self.reasoning.end)
        return is_unfinished or self.reasoning.is_opened_by(prompt)

    def parser(self, tools: Tools | None, *, is_thinking: bool) -> DeltaParser:
        """Reads one answer, in which ``tools`` may be called."""
        content = PlainParser() if tools is None else self.tools.parser(tools)
        if self.reasoning is not None:
            return ReasoningParser(self.reasoning, content, opened=is_thinking)
        return content

    def stop_scope(
        self, tools: Tools | None, *, is_thinking: bool
    ) -> Callable[[], AnswerScope] | None:
        """Makes what tells where in an answer stop strings count; None for everywhere.

        That is in what `parser` calls content.
        """
        if self.reasoning is None and tools is None:
            return None
        return lambda: AnswerScope(
            self.reasoning,
            None if tools is None else self.tools.parser(tools),
            opened=is_thinking,
        )

    def calls_grammar(self, tools: Tools, *, is_required: bool, is_parallel: bool) -> str:
        """Lark for answers that call ``tools`` with valid arguments, if they call any.

        ``is_required``: they do.
        """
        return self.tools.grammar(
            tools, required=is_required, parallel=is_parallel, marker=self._marker
        )

    def lazy_calls_grammar(self, tools: Tools, *, is_parallel: bool) -> str:
        """Lark for answers whose calls are valid from where one has begun: text up to there."""
        return self.tools.lazy_grammar(tools, parallel=is_parallel, marker=self._marker)

    def reasoning_grammar(
        self, prompt: str, begun: str = "", *, may_end: bool = False
    ) -> str | None:
        """Lark for what comes before the rule ``answer``; None where that comes first.

        Reasoning that ``prompt`` opened has to end. Where it opened none and closed none, the model
        may begin with it, as many do: unless its template opens it on request, which then nobody
        made. A model that can't begin as it would like to may take any way out.

        ``may_end``: the completion may end within reasoning.
        """
        if self.reasoning is None or prompt.rstrip().endswith(self.reasoning.end):
            return None
        is_thinking = self.is_thinking(prompt, begun)
        if not is_thinking and (self._opens_on_request or begun):
            return None
        opening, ending = self._marker(self.reasoning.start), self._marker(self.reasoning.end)
        block = "thought WS" if is_thinking else f"({opening} thought WS)?"
        unfinished = ("TEXT" if is_thinking else f"{opening} TEXT") if may_end else ""
        lazily = "[lazy]" if ending.startswith('"') else ""
        rules = (
            f"start: {block} answer" + (f" | {unfinished}" if unfinished else ""),
            f"thought{lazily}: TEXT {ending}",
            r"TEXT: /(.|\n)*/",
            r"WS: /[ \t\r\n]{0,8}/",  # what the parser leaves out, and no more than models write
        )
        return "\n".join(rules)

    def _marker(self, text: str) -> str:
        token = self._control_token(text)
        return json.dumps(text, ensure_ascii=False) if token is None else f"<[{token}]>"


def _opens_on_request(source: str, reasoning: ReasoningFormat) -> bool:
    """Whether a variable has the template open a block of reasoning, without which it does not."""
    messages = [{"role": "user", "content": "Hello"}]
    try:
        template = ChatTemplate(source)
        asked, plain = (
            reasoning.is_opened_by(template.render(messages, variables=variables))
            for variables in (dict.fromkeys(_SWITCHES, True), {})
        )
    except TemplateError:  # whoever renders it will hear of that
        return False
    return asked and not plain
