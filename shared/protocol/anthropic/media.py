"""Images and documents of Anthropic's messages as parts of a chat's."""

from __future__ import annotations

from typing import Any

from shared.protocol.anthropic.requests import DocumentBlock
from shared.protocol.errors import invalid


def document_part(block: DocumentBlock, where: str) -> dict[str, Any]:
    """A document's text, under its title; a PDF as a file. Raises `APIError` 400."""
    source = block.source
    kind = source.get("type")
    if kind == "base64":
        url = data_url(source, "application/pdf", where)
        return {"type": "file", "file": {"filename": block.title or "document", "file_data": url}}
    content = {"text": source.get("data"), "content": source.get("content")}.get(str(kind))
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(text for text in parts if isinstance(text, str))
    if not isinstance(content, str):
        raise invalid(
            f"Invalid '{where}': a document's source has to be of type text (with 'data'), content "
            "(with 'content') or base64 here: nothing is fetched.",
            where,
            "unsupported_content",
        )
    texts = [each for each in (block.title, block.context, content) if isinstance(each, str)]
    return {"type": "text", "text": "\n".join(texts)}


def data_url(source: dict[str, Any], media_type: str, where: str) -> str:
    """The URL of a base64 source, or the one that it names; raises `APIError` 400."""
    if isinstance(url := source.get("url"), str):
        return url
    data, media = source.get("data"), source.get("media_type") or media_type
    if not isinstance(data, str) or not isinstance(media, str):
        raise invalid(f"Invalid '{where}': it needs 'data', as base64, or 'url'.", where)
    return f"data:{media};base64,{data}"
