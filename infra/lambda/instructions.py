"""Finds instructions that not every machine of Lambda has, by disassembling a library."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import capstone
from architectures import ARM64, X86_64, Architecture
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

_MNEMONICS = {
    X86_64.name: {
        "AVX-512": r"k[a-z]+[bwdq]",  # of mask registers; others are told by their first byte
        "GFNI": r"v?gf2p8\w+",
        "XOP or FMA4": r"vpmac\w+|vpmadc\w+|vpcmov|vfn?m(?:add|sub)[ps][ds]",
    },
    ARM64.name: {
        "SVE": r"cnt[bhwd]",
        "SME": r"smstart|smstop|\w*mopa",
        "I8MM": r"[su]mmla|usmmla|usdot|sudot",
        "BF16": r"bfdot|bfmmla|bfmlal[bt]|bfcvt\w*",
    },
}
"""Names of what each architecture's oldest machines lack; operands and bytes tell the rest."""

_OPERANDS = {
    X86_64.name: {"VAES": (re.compile(r"vaes(?:enc|dec)\w*"), re.compile(r"\bymm"))},
    ARM64.name: {
        "SVE": (re.compile(""), re.compile(r"\b(?:z\d+\.[bhsdq]|p\d+(?:/[mz]|\.[bhsd]))")),
    },
}
_LEGACY_PREFIXES = frozenset(b"\x2e\x36\x3e\x26\x64\x65\x67")
_EVEX = 0x62
"""First byte of AVX-512's instructions, whatever they do and whichever registers they use."""
_VEX, _VEX_0F38 = 0xC4, 0x02
_UNDECODED = {
    "AMX": frozenset(b"\x49\x4b\x5c\x5e\x6c"),
    "AVX-VNNI": frozenset(b"\x50\x51\x52\x53"),
    "AVX-IFMA": frozenset(b"\xb4\xb5"),
    "AVX-NE-CONVERT": frozenset(b"\xb0\xb1\x72"),
}
"""Opcodes of what the disassembler does not know, in the map 0F38 with the prefix VEX."""
_OF_THE_UNWINDER = frozenset({"cntd x0", "smstop za"})
"""LLVM's libunwind, which zig links, runs the first for frames of functions that use SVE, and the
second where the kernel says that there is SME (``HWCAP2_SME``)."""
_UNKNOWN = "an unknown extension"
_LONGEST = 16

_Finding = tuple[str, str]
"""Extension, and the instruction as text."""


def foreign_instructions(elf: ELFFile, architecture: Architecture) -> list[str]:
    """A line for each extension that a library uses and should not, with the first use."""
    find = _find_x86 if architecture is X86_64 else _find_arm
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for section in elf.iter_sections():
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR:
            for extension, text in find(section.data()):
                counts[extension] += 1
                first.setdefault(extension, text)
    return [
        f"has {count} instructions of {extension}, as in {first[extension]!r}"
        for extension, count in sorted(counts.items())
    ]


def _find_x86(code: bytes) -> Iterator[_Finding]:
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    named = _by_name(X86_64)
    start = 0
    while start < len(code):
        for offset, size, mnemonic, operands in disassembler.disasm_lite(code[start:], start):
            start = offset + size
            begin = offset
            while code[begin] in _LEGACY_PREFIXES:
                begin += 1
            if code[begin] == _EVEX:
                yield "AVX-512", f"{mnemonic} {operands}"
            elif extension := named(mnemonic, operands):
                yield extension, f"{mnemonic} {operands}"
        if start < len(code):
            undecoded = code[start : start + _LONGEST]
            yield _undecoded(undecoded), undecoded.hex(" ")
            start += _LONGEST  # it may be out of step until the next one or two


def _undecoded(code: bytes) -> str:
    if code[0] == _EVEX:
        return "AVX-512"
    if code[0] == _VEX and len(code) > 3 and code[1] & 0x1F == _VEX_0F38:
        for extension, opcodes in _UNDECODED.items():
            if code[3] in opcodes:
                return extension
    return _UNKNOWN


def _find_arm(code: bytes) -> Iterator[_Finding]:
    disassembler = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    disassembler.skipdata = True  # constants lie between functions
    named = _by_name(ARM64)
    for _, _, mnemonic, operands in disassembler.disasm_lite(code, 0):
        text = f"{mnemonic} {operands}"
        if text not in _OF_THE_UNWINDER and (extension := named(mnemonic, operands)):
            yield extension, text


def _by_name(architecture: Architecture) -> Callable[[str, str], str | None]:
    """Tells an instruction's extension; remembers names, since there are few."""
    patterns = {k: re.compile(v) for k, v in _MNEMONICS[architecture.name].items()}
    known: dict[str, tuple[str | None, list[tuple[str, re.Pattern[str]]]]] = {}

    def extension(mnemonic: str, operands: str) -> str | None:
        if mnemonic not in known:
            found = next((k for k, v in patterns.items() if v.fullmatch(mnemonic)), None)
            further = [
                (name, of_operands)
                for name, (of_name, of_operands) in _OPERANDS[architecture.name].items()
                if of_name.match(mnemonic)
            ]
            known[mnemonic] = found, further
        found, further = known[mnemonic]
        return found or next((name for name, each in further if each.search(operands)), None)

    return extension
