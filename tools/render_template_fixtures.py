"""Write the prompts that the chat template tests expect, as ``transformers`` renders them.

Reads the templates and ``cases.json`` in ``tests/chat/templates``, and writes a text file for every
case of a family: the prompt, or the error's message. Needs ``transformers``, which nothing else
here does; run it in an environment of its own after changing a template or a case.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "tests" / "chat" / "templates"


def main() -> None:
    """Replace every expected text."""
    fixtures = json.loads((FIXTURES / "cases.json").read_text(encoding="utf-8"))
    for old in FIXTURES.glob("*.txt"):
        old.unlink()
    for family, about in fixtures["families"].items():
        for case in about["cases"]:
            suffix, text = rendered(family, about, fixtures["cases"][case], fixtures["tools"])
            path = FIXTURES / f"{family}.{case}{suffix}"
            path.write_text(text, encoding="utf-8", newline="")
            print(path.name)


def rendered(family: str, about: Any, case: Any, tools: Any) -> tuple[str, str]:
    """The file's suffix and text."""
    continues = case.get("continue_final_message", False)
    try:
        prompt = tokenizer(about).apply_chat_template(
            case["messages"],
            tools=tools if case.get("with_tools") else None,
            chat_template=(FIXTURES / f"{family}.jinja").read_text(encoding="utf-8"),
            add_generation_prompt=case.get("add_generation_prompt", not continues),
            continue_final_message=continues,
            tokenize=False,
            **about.get("variables", {}),
            **case.get("variables", {}),
        )
    except Exception as error:  # a template is a program, and can fail in any way
        return ".error.txt", str(error)
    return ".txt", prompt


def tokenizer(about: Any) -> Any:
    """One that knows nothing but the special tokens."""
    transformers = importlib.import_module("transformers")
    tokenizers = importlib.import_module("tokenizers")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?")),
        bos_token=about["bos_token"],
        eos_token=about["eos_token"],
    )


if __name__ == "__main__":
    main()
