"""Server-sent events of a response, as a client reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_FIELD = b"data:"


def event_data(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event in a stream's bytes, however they are cut.

    Lines end with LF, or CR and LF, and with nothing else: text libraries, `httpx2` too, also split
    at the line separators of Unicode, which JSON leaves as they are. An event here has one line.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(_FIELD):
                yield line.removeprefix(_FIELD).strip()
