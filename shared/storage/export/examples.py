"""Training and evaluation examples (fine-tuning, evals) from a stored completion.

Training examples have the form of OpenAI's supervised fine-tuning, which other trainers read too:
``messages``, the last of them the assistant's, with ``tools`` and ``parallel_tool_calls`` (or
``functions``) beside them. Its roles are system, user, assistant, tool and function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from shared.storage.types import StoredCompletion

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Included = Literal["incomplete", "length"]
Object = Mapping[str, Any]

_SPEAKERS = ("system", "user", "assistant")
"""Roles whose messages trainers want to say something; results of tools may be empty."""

_MESSAGE_FIELDS = ("name", "tool_call_id", "tool_calls", "function_call")
"""Of a message, beside role and content. Trainers refuse or misread whatever else it has."""


class NoExample(Exception):
    """A choice makes no example; the text is the reason, in a word or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which choices become examples, and whether these keep the reasoning.

    ``choices``: of each prompt the first one, or all. ``include``: also those of completions whose
    client disconnected, and those that the token limit ended. ``reasoning``: keep messages' field
    ``reasoning_content``, which OpenAI's format does not have.
    """

    choices: Literal["first", "all"] = "first"
    include: frozenset[Included] = frozenset()
    reasoning: bool = False

    def chosen(self, completion: StoredCompletion) -> list[Object]:
        """The completion's choices that are to be examples, finished or not."""
        choices: list[Object] = completion.response["choices"]
        per_prompt = len(choices) // len(_prompts(completion)) or 1
        step = per_prompt if self.choices == "first" else 1
        return choices[::step]

    def example(self, completion: StoredCompletion, choice: Object) -> Example:
        """A choice as an example; raises `NoExample`."""
        if completion.is_incomplete:
            if "incomplete" not in self.include:
                raise NoExample("incomplete")
        elif choice["finish_reason"] == "length" and "length" not in self.include:
            raise NoExample("cut by length")
        if completion.kind == "text":
            return _text_example(completion, choice)
        return _chat_example(completion.request, choice["message"], reasoning=self.reasoning)


@dataclass(frozen=True, slots=True)
class Example:
    """An answer and what it answers: messages, or a text.

    ``setting`` has what else a training example says: the tools, and how they may be called.
    """

    question: Sequence[Object] | str
    answer: Object | str
    setting: Object

    def training(self) -> dict[str, Any]:
        """A line to fine-tune with."""
        if isinstance(self.question, str):
            return {"prompt": self.question, "completion": self.answer}
        return {"messages": [*self.question, self.answer], **self.setting}

    def evaluation(self) -> dict[str, Any]:
        """A line for the data source ``jsonl`` of OpenAI's Evals API; raises `NoExample`."""
        if isinstance(self.answer, str):
            return {"item": {"input": self.question, "ideal": self.answer}}
        if "tool_calls" in self.answer or "function_call" in self.answer:
            raise NoExample("tool calls")  # graders compare texts
        return {"item": {"input": self.question, "ideal": self.answer["content"]}}


def _prompts(completion: StoredCompletion) -> Sequence[Any]:
    """The prompts of a request, each of which has equally many choices: one, but for texts."""
    prompt = completion.request.get("prompt")
    if (
        completion.kind == "text"
        and isinstance(prompt, list)
        and isinstance(prompt[0], (str, list))
    ):
        return prompt
    return [prompt]


def _text_example(completion: StoredCompletion, choice: Object) -> Example:
    request = completion.request
    prompts = _prompts(completion)
    per_prompt = len(completion.response["choices"]) // len(prompts)
    prompt = prompts[choice["index"] // per_prompt]
    if isinstance(prompt, list):
        raise NoExample("token ids as the prompt")
    prompt = prompt or ""
    if request.get("suffix"):
        raise NoExample("fill-in-the-middle")
    text: str = choice["text"]
    if request.get("echo"):
        if not text.startswith(prompt):
            raise NoExample("echo unlike the prompt")
        text = text.removeprefix(prompt)
    if not text:
        raise NoExample("empty answer")
    return Example(prompt, text, {})


def _chat_example(request: Object, answer: Object, *, reasoning: bool) -> Example:
    question = [_message(message, reasoning=reasoning) for message in request["messages"]]
    last = _message(answer, reasoning=reasoning)
    if request.get("continue_final_message"):
        begun = question.pop()
        last = {**begun, **last, "content": f"{begun['content']}{last.get('content', '')}"}
    if not last.get("content") and not _calls(last):
        raise NoExample("empty answer")
    for message in question:
        if message["role"] in _SPEAKERS and not message.get("content") and not _calls(message):
            raise NoExample("empty message")
    _check_calls([*question, last])
    return Example(question, last, _setting(request))


def _setting(request: Object) -> dict[str, Any]:
    """The tools that the model was told of: none of them where it must not call any."""
    if request.get("functions") and request.get("function_call") != "none":
        return {"functions": request["functions"]}
    if not request.get("tools") or request.get("tool_choice") == "none":
        return {}
    setting = {"tools": request["tools"]}
    if request.get("parallel_tool_calls") is not None:
        setting["parallel_tool_calls"] = request["parallel_tool_calls"]
    return setting


def _message(message: Object, *, reasoning: bool) -> dict[str, Any]:
    """A message with the fields and roles of training examples; ``developer`` is ``system``."""
    role = message["role"]
    shown: dict[str, Any] = {"role": "system" if role == "developer" else role}
    content = _content(message.get("content"))
    if content is None:
        content = message.get("refusal")
    if content is not None:
        shown["content"] = content
    names = (*_MESSAGE_FIELDS, "reasoning_content") if reasoning else _MESSAGE_FIELDS
    shown |= {name: message[name] for name in names if message.get(name) not in (None, [])}
    if "tool_calls" in shown:  # requests may leave the type out
        shown["tool_calls"] = [{"type": "function", **call} for call in shown["tool_calls"]]
    return shown


def _content(content: Any) -> Any:
    """A content's text; parts that are none, such as images, stay parts."""
    if not isinstance(content, list):
        return content
    if all(part["type"] in ("text", "refusal") for part in content):
        return "".join(part[part["type"]] for part in content)
    return content


def _check_calls(messages: Sequence[Object]) -> None:
    """Raise `NoExample` unless calls have JSON arguments and results, before the next turn.

    These rules are OpenAI's: one line that breaks them, and a whole file is refused.
    """
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise NoExample("a tool's result without its call")
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            raise NoExample("a tool call without its result")
        for call in _calls(message):
            if not _NAME.fullmatch(call["name"]):
                raise NoExample("a call of no tool's name")
            if not _is_object(call["arguments"]):
                raise NoExample("arguments that are no JSON object")
        open_calls = {call["id"] for call in message.get("tool_calls", ())}


def _calls(message: Object) -> list[Object]:
    """The functions that a message calls."""
    if "function_call" in message:
        return [message["function_call"]]
    return [call["function"] for call in message.get("tool_calls", ())]


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False
