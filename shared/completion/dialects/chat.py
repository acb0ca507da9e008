"""OpenAI's dialect of chat completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.completion.chat_prompt import begun_text, chat_prompt
from shared.completion.constraint import Before, chat_constraint
from shared.completion.dialect import Dialect
from shared.completion.field_rules import check_chat_fields
from shared.completion.tokens import predicted_tokens, prompt_tokens
from shared.engine.types import GenerationRequest
from shared.protocol.choices import Choice
from shared.protocol.logprobs import TokenTexts
from shared.protocol.openai.chat_completions import ChatCompletionRequest, plain_text
from shared.protocol.openai.chat_format import ChatStream, chat_body
from shared.protocol.openai.message import MessageChoice, MessageFormat
from shared.protocol.openai.tool_use import ToolUse

if TYPE_CHECKING:
    from shared.engine.grammar.constraint import Constraint


class ChatDialect(Dialect[ChatCompletionRequest]):
    """``POST /v1/chat/completions``."""

    id_prefix = "chatcmpl"
    prompt_field = "messages"
    operation = "chat"
    kind = "chat"

    _message_format: MessageFormat | None = None
    """How the answers' text is to be read; None where all of it is content."""
    _n = 1
    _use: ToolUse | None = None
    _prompt = ""

    async def engine_requests(self) -> list[GenerationRequest]:
        """One request, for the messages; raises `APIError` 400."""
        asked, served, context = self.asked, self.served, self.context
        check_chat_fields(asked)
        use, prompt = await chat_prompt(context, asked, served, self.max_content_size)
        is_thinking = served.answers.is_thinking(prompt.text, begun_text(asked))
        callable_tools = None if use is None else use.callable
        predicted = plain_text(asked.prediction.content) if asked.prediction is not None else None
        request = self.engine_request(
            await prompt_tokens(served, prompt),
            max_tokens=asked.requested_tokens or served.max_tokens,
            top_logprobs=(asked.top_logprobs or 0) if asked.logprobs else None,
            visible_tokens=served.answers.visible_tokens,
            stop_scope=served.answers.stop_scope(callable_tools, is_thinking=is_thinking),
            return_tokens=served.answers.reasoning is not None or bool(asked.store),
            prediction=await predicted_tokens(served, predicted or "", self.max_content_size),
        )
        self._use, self._prompt = use, prompt.text
        self._message_format = self._format(use, is_thinking=is_thinking)
        self._n = request.n
        return [request]

    async def constraint(self, before: Before) -> Constraint | None:
        """Output constraint of the answer's format, or of tool calls in it."""
        tenant = self.context.caller.tenant
        return await chat_constraint(
            self.asked, self.served, tenant, self._use, self._prompt, before=before
        )

    def new_choice(self, index: int) -> Choice:
        """A choice whose text is read as a message."""
        if self._message_format is None:
            return Choice()
        return MessageChoice(self._message_format, index)

    def body(self, choices: Sequence[Choice], cost: float | None = None) -> bytes:
        """The whole answer's JSON."""
        has_timings = bool(self.asked.timings_per_token)
        return chat_body(self.head, choices, self._texts, has_timings=has_timings, cost=cost)

    def stream(self) -> ChatStream:
        """A new formatter of the answer's events."""
        return ChatStream(
            self.head,
            self._n,
            include_usage=self.includes_usage,
            texts=self._texts,
            format=self._message_format,
            has_timings=bool(self.asked.timings_per_token),
            has_progress=bool(self.asked.return_progress),
        )

    @property
    def _texts(self) -> TokenTexts | None:
        return self.served.model if self.asked.logprobs else None

    def _format(self, use: ToolUse | None, *, is_thinking: bool) -> MessageFormat | None:
        answers = self.served.answers
        tools = None if use is None else use.callable
        if tools is None and answers.reasoning is None:
            return None
        return MessageFormat(
            new_parser=lambda: answers.parser(tools, is_thinking=is_thinking),
            call_id=lambda choice, call: answers.tools.call_id(f"{self.head.id}-{choice}-{call}"),
            calls_tools=use is not None,
            is_legacy=use is not None and use.is_legacy,
        )
