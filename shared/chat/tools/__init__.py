"""Tool calls: what models of different families write, and how to read and to force it."""

from shared.chat.tools.base import ToolFormat
from shared.chat.tools.detect import detect

__all__ = ["ToolFormat", "detect"]
