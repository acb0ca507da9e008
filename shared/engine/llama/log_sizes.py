"""Buffer sizes in llama.cpp's log: what weights, the KV cache and recurrent states take.

llama.cpp tells them nowhere else: ``llama_get_memory_breakdown`` returns a C++ map by value, from a
header that promises nothing (``llama-ext.h``), and ``llama_state_seq_get_size`` counts what is in
use, not what is allocated. A log's wording may change with any version of llama.cpp, so a line that
is missing is an error: sizes of 0 would make every context seem to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.engine.llama.errors import LlamaError

_FIELDS = {"NAME": r"(?P<name>\S+)", "SIZE": r"(?P<size>\d+\.\d+)", "ANY": r".*"}


class MissingSizeError(LlamaError):
    """llama.cpp did not log a size: this version of it words its log in another way."""

    def __init__(self, line: str) -> None:
        from shared.engine.llama.version import LLAMA_CPP_VERSION

        super().__init__(
            f"llama-cpp-python {LLAMA_CPP_VERSION} did not log a line like {line!r}, from "
            "which the memory that models take is known: install the version of llama-cpp-python "
            "that pilotlight's constraints.txt names"
        )


class SizeLine:
    """A line of the log with a size in MiB.

    ``text`` is the line with its blanks as one each; ``NAME`` stands for a buffer's name, ``SIZE``
    for the number, ``ANY`` for anything.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        words = (_FIELDS.get(word) or re.escape(word) for word in text.split())
        self._pattern = re.compile(" +".join(words))

    def find(self, log: Iterable[str]) -> list[tuple[str, float]]:
        """Names of buffers ("" where the line has none) and bytes, in the log's order."""
        return [
            (match.groupdict().get("name", ""), 2**20 * float(match["size"]))
            for match in map(self._pattern.match, log)
            if match
        ]


def read_sizes(log: Iterable[str], *lines: SizeLine) -> list[tuple[str, float]]:
    """What `SizeLine.find` finds of one or another of ``lines``.

    Raises `MissingSizeError` if there is none of them.
    """
    log = list(log)
    found = [size for line in lines for size in line.find(log)]
    if not found:
        raise MissingSizeError(lines[0].text)
    return found
