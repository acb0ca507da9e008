"""Grammars in Lark of texts inside of JSON: Codex's, and what Lark has."""

from __future__ import annotations

import json

import pytest
from llguidance import LLMatcher, LLTokenizer

from shared.chat.tools.lark_text import LarkError, json_text_rules

APPLY_PATCH = r"""
start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?

hunk: add_hunk | delete_hunk | update_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
update_hunk: "*** Update File: " filename LF change_move? change?

filename: /(.+)/
add_line: "+" /(.*)/ LF -> line

change_move: "*** Move to: " filename LF
change: (change_context | change_line)+ eof_line?
change_context: ("@@" | "@@ " /(.+)/) LF
change_line: ("+" | "-" | " ") /(.*)/ LF
eof_line: "*** End of File" LF

%import common.LF
"""
"""Of Codex's tool ``apply_patch``."""
SUM = r"""
// A sum.
start: expr
?expr: term (SP ADD SP term)*   # of terms
term: INT | "(" expr ")" | NAME~2 | QUOTED | PATH
ADD: "+" | "-"
SP: " "
NAME: "a".."f"
QUOTED: /"[^"\n]*"/
PATH: /[A-Z]:(\\\w+){1,2}\/?/
%import common.INT
"""


def follows(grammar: str, text: str) -> bool:
    """Whether JSON with ``text`` follows the grammar."""
    rules = json_text_rules(grammar, "x_")
    source = f'start: "{{\\"input\\": \\"" x_start "\\"}}"\n{rules}'
    tokenizer = LLTokenizer("byte")
    matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(source))
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer.tokenize_bytes(json.dumps({"input": text}, ensure_ascii=False).encode())
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return bool(matcher.is_accepting())


@pytest.mark.parametrize(
    ("grammar", "text", "is_right"),
    [
        (APPLY_PATCH, "*** Begin Patch\n*** Delete File: a\n*** End Patch", True),
        (
            APPLY_PATCH,
            '*** Begin Patch\n*** Add File: a "b"/é.py\n+print("x\\n")\t# 東\x01\n+\n*** End Patch\n',
            True,
        ),
        (
            APPLY_PATCH,
            "*** Begin Patch\n*** Update File: a\n*** Move to: b\n@@ def f():\n-  a\\\n+  b\n"
            "*** End of File\n*** End Patch",
            True,
        ),
        (APPLY_PATCH, "*** Begin Patch\n*** End Patch", False),
        (APPLY_PATCH, "*** Begin Patch\n*** Add File: a\nprint()\n*** End Patch", False),
        (APPLY_PATCH, "*** Begin Patch\n*** Delete File: \n*** End Patch", False),
        (SUM, '12 + (ab - "x\\y + é")', True),
        (SUM, "C:\\Users\\ann/ - 1", True),
        (SUM, "C:\\Users\\ann\\more", False),
        (SUM, "12 * 3", False),
        (SUM, "abc", False),
        (SUM, '"a\nb"', False),
        (r"start: /[^\n]/", "\t", True),
        (r"start: /[^\n]/", "\n", False),
        (r"start: /./s", "\n", True),
        (r"start: /./", "\n", False),
        (r"start: /\s+[\]\[&~-]\x41/", " \r\n[A", True),
        (r"start: /[\"\\\/]{3}/", '"\\/', True),
        (r'start: "\u00e9\n" WS' + "\n%import common.WS", "é\n \t\n", True),
        ("start: LETTER\n%import common (LETTER)", "", None),
        ("start: a\na: /x/i", "", None),
        ('start: "x"i', "", None),
        ("start: /^x/", "", None),
        (r"start: /\bx/", "", None),
        (r"start: /(?=x)/", "", None),
        ("start: /[b-a]/", "", None),
        ("start: /[ab/", "", None),
        ("start: /a{,2}/", "", None),
        ("start: X\n%import common.ESCAPED_STRING -> X", "", None),
        ('start: "x"\n%ignore "y"', "", None),
        ("start: %json {}", "", None),
        ("start: <|end|>", "", None),
        ("root: /x/", "", None),
    ],
)
def test_texts_follow_their_grammar(grammar: str, text: str, is_right: bool | None) -> None:
    if is_right is None:
        with pytest.raises(LarkError):
            json_text_rules(grammar, "x_")
    else:
        assert follows(grammar, text) is is_right
