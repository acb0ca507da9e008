"""The stored-completions resource: queries in, completions, messages and lists out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, model_validator

from shared.protocol.errors import APIError, invalid
from shared.protocol.strict import Metadata, Strict
from shared.storage.base import DamagedCompletionError
from shared.storage.id_range import PREFIXES
from shared.storage.types import CompletionQuery, Kind, StoredCompletion

ItemT = TypeVar("ItemT", bound=Mapping[str, Any])

_ECHOED = (
    "seed",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "response_format",
)
"""Request fields that OpenAI shows in a stored completion, with the values that held."""


class MetadataUpdate(Strict):
    """Body of ``POST /v1/chat/completions/{id}``: what the metadata is from now on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"metadata": {"task": "titles", "rating": "good"}}]}
    )

    metadata: Metadata | None


class PageQuery(Strict):
    """Query string of a list: which page of it."""

    model_config = ConfigDict(strict=False)  # all of a query string is text

    after: Annotated[str, Field(max_length=128)] | None = Field(
        default=None, description="The id that the page follows."
    )
    limit: Annotated[int, Field(ge=1, le=100)] = Field(default=20, description="How many at most.")
    order: Literal["asc", "desc"] = Field(default="asc", description="Oldest or newest first.")


class ListQuery(PageQuery):
    """Query string of a list of completions: which page of which of them."""

    model: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Completions of this model only."
    )
    metadata: Metadata = Field(
        default_factory=dict,
        description="Completions with all of these pairs only, as in `metadata[task]=titles`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, sent: dict[str, Any]) -> dict[str, Any]:
        """``metadata[key]=value`` pairs as one field; of other parameters sent twice, the last.

        Raises `APIError` 400 for a misspelt filter, or one of two that can't both match: the list
        would show what it was to leave out.
        """
        data: dict[str, Any] = {}
        for name, values in sent.items():
            value = values[-1] if isinstance(values, list) else values
            if name.startswith("metadata[") and name.endswith("]"):
                if isinstance(values, list) and len(set(values)) > 1:
                    raise invalid(
                        f"'{name}' is sent with several values: all filters have to match, and a "
                        "completion has one value of a key.",
                        name,
                    )
                data.setdefault("metadata", {})[name[9:-1]] = value
            elif name.startswith("meta"):
                raise invalid(
                    f"Unknown parameter '{name}': filters are written metadata[KEY]=VALUE.", name
                )
            else:
                data[name] = value
        return data

    def completions(self, tenant: str, kind: Kind) -> CompletionQuery:
        """The store's query; raises `APIError` 400 for a cursor that is no completion's id."""
        if self.after and not self.after.startswith(f"{PREFIXES[kind]}-"):
            raise invalid(f"Invalid 'after': '{self.after}' is no id of a completion.", "after")
        return CompletionQuery(
            tenant=tenant,
            kind=kind,
            limit=self.limit,
            order=self.order,
            after=self.after,
            model=self.model,
            metadata=self.metadata,
        )


def stored_object(completion: StoredCompletion) -> dict[str, Any]:
    """A completion as OpenAI shows stored ones: the response and some of the request."""
    request = completion.request
    shown = {
        "id": completion.id,  # by which it is found, and lists go on
        "created": completion.created,
        "model": completion.model,
        **{name: value for name, value in completion.response.items() if name != "id"},
        "request_id": completion.request_id,
        **{name: completion.used.get(name, request.get(name)) for name in _ECHOED},
        "input_user": completion.user,
        "metadata": dict(completion.metadata),
    }
    if completion.is_incomplete:
        shown["incomplete"] = True
    if completion.served_by is not None:
        shown["served_by"] = completion.served_by
    return shown


def messages_of(completion: StoredCompletion) -> list[dict[str, Any]]:
    """The request's messages, each with an id; a text's prompts are messages of the user's.

    Raises `DamagedCompletionError` where a chat has none.
    """
    request = completion.request
    sent = request.get("messages") if completion.kind == "chat" else _prompts(request.get("prompt"))
    if not isinstance(sent, list) or not all(isinstance(message, Mapping) for message in sent):
        raise DamagedCompletionError(completion.id, "the store", "the request has no messages")
    return [_stored_message(message, f"{completion.id}-{i}") for i, message in enumerate(sent)]


def _prompts(prompt: Any) -> list[dict[str, Any]]:
    several = isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list))
    return [{"role": "user", "content": item} for item in (prompt if several else [prompt])]


def _stored_message(message: Mapping[str, Any], message_id: str) -> dict[str, Any]:
    """OpenAI's form: the content as text, and its parts where it came in parts."""
    content = message.get("content")
    parts = None
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        parts = content
        content = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
    shown = {"name": None, **message, "content": content, "content_parts": parts}
    return {**shown, "id": message_id}


def list_object(
    data: Sequence[Mapping[str, Any]], *, has_more: bool, damaged: Sequence[str] = ()
) -> dict[str, Any]:
    """OpenAI's list, in which a cursor is the last id; and the ids of what is ``damaged``."""
    shown = {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
    return {**shown, "damaged": list(damaged)} if damaged else shown


def page_of(items: Sequence[ItemT], query: PageQuery) -> tuple[list[ItemT], bool]:
    """The page of ``items`` that ``query`` asks for; raises `APIError` for an unknown cursor."""
    ordered = list(items) if query.order == "asc" else list(reversed(items))
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            raise invalid(f"Invalid 'after': there is no '{query.after}' here.", "after")
        ordered = ordered[ids.index(query.after) + 1 :]
    return ordered[: query.limit], len(ordered) > query.limit


def store_unavailable() -> APIError:
    """503: the store does not answer; nothing is known to be wrong with the request."""
    return APIError(
        503,
        "The store of completions does not answer. Try again shortly.",
        type="server_error",
        code="store_unavailable",
        headers={"retry-after": "5"},
    )


def completion_not_found(completion_id: str) -> APIError:
    """404: there is none, or it is somebody else's."""
    return APIError(
        404,
        f"No stored completion '{completion_id}' was found.",
        type="not_found_error",
        code="completion_not_found",
    )


def completion_damaged(completion_id: str) -> APIError:
    """500: what is stored of it can't be read. Trying again does not help, deleting does."""
    return APIError(
        500,
        f"The stored completion '{completion_id}' is damaged: it can't be read, but it can be "
        "deleted. The server's log says where it is and what is wrong with it.",
        type="server_error",
        code="completion_damaged",
    )
