"""Finds instructions that not every machine of Lambda has, by disassembling a library."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from architectures import ARM64, X86_64, Architecture

_LINE = re.compile(r"^\s*[0-9a-f]+:\t(?P<bytes>[0-9a-f ]+?)\s*\t(?P<text>.*)$")

_TARGET = re.compile(r"<[^>]*>")
"""A jump's, by name: names may look like instructions."""

_FOREIGN = {
    X86_64.name: {
        # Whatever it does and whichever registers it uses, it begins with 62 (after prefixes).
        "AVX-512": re.compile(r"^(?:(?:2e|36|3e|26|64|65|67) )*62 "),
        "AMX": re.compile(r"^[^\t]*\t(?:ldtilecfg|sttilecfg|tile\w+|tdp\w+|tcmm\w+)\b"),
        "AVX-VNNI": re.compile(r"^[^\t]*\t(?:\{vex\} )?vpdp\w+"),
        "AVX-IFMA": re.compile(r"^[^\t]*\t(?:\{vex\} )?vpmadd52\w+"),
        "AVX-NE-CONVERT": re.compile(r"^[^\t]*\t(?:\{vex\} )?v(?:bcstne|cvtne)\w+"),
        "GFNI": re.compile(r"^[^\t]*\tv?gf2p8\w+"),
        "VAES": re.compile(r"^[^\t]*\tvaes(?:enc|dec)\w*\s.*%ymm"),
        "XOP or FMA4": re.compile(r"^[^\t]*\t(?:vpmac|vpmadc|vpcmov|vfn?m(?:add|sub)[ps][ds]\b)"),
    },
    ARM64.name: {
        "SVE": re.compile(r"\t.*\b(?:z\d+\.[bhsdq]|p\d+(?:/[mz]|\.[bhsd]))|\tcnt[bhwd]\s"),
        "SME": re.compile(r"^[^\t]*\t(?:smstart|smstop|\w*mopa)\b"),
        "I8MM": re.compile(r"^[^\t]*\t(?:[su]mmla|usmmla|usdot|sudot)\b"),
        "BF16": re.compile(r"^[^\t]*\t(?:bfdot|bfmmla|bfmlal[bt]|bfcvt\w*)\b"),
    },
}
"""What each architecture's oldest machines lack, as it shows in bytes, tab, mnemonic, operands."""


def foreign_instructions(library: Path, architecture: Architecture) -> list[str]:
    """A line for each extension that ``library`` uses and should not, with the first use."""
    tool = f"{architecture.tool_prefix}objdump"
    if shutil.which(tool) is None:
        return [f"its instructions are unchecked: there is no {tool} (Debian: binutils)"]
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    command = [tool, "--disassemble", "--wide", str(library)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
    assert process.stdout is not None
    for line in process.stdout:
        if not (match := _LINE.match(line)):
            continue
        text = _TARGET.sub("", match["text"])
        instruction = f"{match['bytes']}\t{text}"
        for extension, pattern in _FOREIGN[architecture.name].items():
            if pattern.search(instruction):
                counts[extension] += 1
                first.setdefault(extension, " ".join(text.split()))
    if process.wait() != 0:
        return [f"{tool} can't disassemble it"]
    return [
        f"has {count} instructions of {extension}, as in {first[extension]!r}"
        for extension, count in sorted(counts.items())
    ]
