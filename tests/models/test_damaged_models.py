"""Model files with anything in them: what can't be served is refused in words, never by a signal."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.model import Model
from shared.models.sources import ModelSourceError, model_files
from tests.models.gguf_file import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    GgufFile,
    Tensor,
    Value,
)
from tests.server import environment

Outcome = tuple[int, str]
Attempt = Callable[[GgufFile], Outcome]

LARGE = (2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 3e38)
LENGTHS = (0, 2**30, 2**31, 2**60, 2**63, 2**64 - 1)


@pytest.fixture(scope="module")
def attempt(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempt]:
    """Serves a file for a moment: the exit status, and what was said."""
    path = tmp_path_factory.mktemp("damaged") / "model.gguf"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.models.load_each"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def served(file: GgufFile) -> Outcome:
        file.write(path)
        stdin.write(f"{path}\n")
        stdin.flush()
        status, said = json.loads(stdout.readline())
        return status, said

    yield served
    stdin.close()
    stdout.close()
    process.wait()


_READ = ("general.architecture", "general.name", "llama.", "tokenizer.")
"""What llama.cpp reads beyond its form."""


def values() -> Iterator[tuple[str, Value]]:
    """Metadata with values at and beyond all borders, and of wrong types."""
    for name, value in GgufFile.builtin().metadata.items():
        if not name.startswith(_READ):
            continue
        if value.type == U32:
            for number in {0, 1, 3, 513, 10**9, value.data - 1, value.data + 1, *LARGE}:
                yield name, Value(U32, number)
        elif value.type == F32:
            yield from ((name, Value(F32, number)) for number in FLOATS)
        elif value.type == STRING:
            yield from ((name, Value(STRING, text)) for text in (b"", b"x", b"\xff\0"))
            yield from ((name, Value(STRING, value.data, length=n)) for n in LENGTHS)
        elif value.type == ARRAY:
            for items in (value.data[:0], value.data[:1], value.data[:-1], value.data * 2):
                yield name, Value(ARRAY, items, value.items)
            yield from ((name, Value(ARRAY, value.data, value.items, n)) for n in LENGTHS)
            strange: tuple[bytes | int, ...] = (-1, 2**31 - 1, 6)
            if value.items == STRING:
                strange = (b"", b"a", b"\xff", b"a b c")
            for item in strange:
                yield name, Value(ARRAY, [item] * len(value.data), value.items)
        yield name, Value(STRING, b"7")
        yield name, Value(I32, -1)
        yield name, Value(U64, 2**40)
        yield name, Value(BOOL, 3)
        yield name, Value(ARRAY, [4] * 5, U32)
        yield name, Value(ARRAY, [0] * 5, U32)
    for name in ("expert_count", "expert_used_count", "nextn_predict_layers"):
        yield from ((f"llama.{name}", Value(U32, number)) for number in (1, 8, 1025, *LARGE))
    for name in ("key_length", "value_length", "sliding_window"):
        yield from (
            (f"llama.attention.{name}", Value(U32, number)) for number in (0, 1, 31, *LARGE)
        )
    for name in ("scaling.factor", "scaling.attn_factor", "scale_linear"):
        yield from ((f"llama.rope.{name}", Value(F32, number)) for number in FLOATS)
    for text in (b"", b"x", b"yarn"):
        yield "llama.rope.scaling.type", Value(STRING, text)
    for number in (0, 1, 3, 16, 2**20, *LARGE):
        yield "general.alignment", Value(U32, number)
    for number in (0, 1, 2, 65535):
        yield "split.count", Value(U16, number)
        yield "split.no", Value(U16, number)
    yield "tokenizer.ggml.precompiled_charsmap", Value(ARRAY, [255] * 4, U8)
    for text in (b"llama", b"bert", b"t5", b"rwkv", b"plamo2", b"none", b"no_vocab"):
        yield "tokenizer.ggml.model", Value(STRING, text)


def tensors() -> Iterator[tuple[str, dict[str, object]]]:
    """Tensors that say something strange of themselves."""
    for tensor in (GgufFile.builtin().tensors[i] for i in (0, 1, 2, 9, -1)):
        for kind in (0, 2, 8, 26, 30, 39, 40, 2**31, 2**32 - 1):
            yield tensor.name, {"type": kind}
        for shape in ([], [0], [2**63], [2**62, 4], [2**32] * 3, [1] * 5, tensor.shape[::-1]):
            yield tensor.name, {"shape": shape}
        for offset in (1, tensor.offset + 32, 2**60, 2**64 - 32):
            yield tensor.name, {"offset": offset}
        for name in ("", "x" * 64, "blk.-1.attn_q.weight", "blk.0.ffn_up.weight", "cls.weight"):
            yield tensor.name, {"name": name}
        yield tensor.name, {"n_dims": 2**32 - 1}


def label(item: object) -> str:
    return str(item)[:40]


def check(outcome: Outcome) -> None:
    """Served, or refused in a line that says why."""
    status, said = outcome
    assert status in (0, 1), said
    if status:
        assert said.splitlines()[-1].startswith("pilotlight: "), said
        assert "Traceback" not in said


@pytest.mark.parametrize("name", GgufFile.builtin().metadata)
def test_no_metadata_ends_the_process_by_being_missing(name: str, attempt: Attempt) -> None:
    file = GgufFile.builtin()
    del file.metadata[name]
    check(attempt(file))


@pytest.mark.parametrize(("name", "value"), list(values()), ids=label)
def test_no_metadata_ends_the_process(name: str, value: Value, attempt: Attempt) -> None:
    check(attempt(GgufFile.builtin().with_(**{name: value})))


@pytest.mark.parametrize(("name", "changes"), list(tensors()), ids=label)
def test_no_tensor_ends_the_process(
    name: str, changes: dict[str, object], attempt: Attempt
) -> None:
    file = GgufFile.builtin()
    changed = [replace(t, **changes) if t.name == name else t for t in file.tensors]  # type: ignore[arg-type]
    check(attempt(replace(file, tensors=changed)))


@pytest.mark.parametrize("number", [0, 1, 46, 48, 10**6, 2**53, 2**63, 2**64 - 1])
@pytest.mark.parametrize("field", ["n_tensors", "n_metadata", "version"])
def test_no_count_ends_the_process(field: str, number: int, attempt: Attempt) -> None:
    if field == "version":
        number %= 2**32
    check(attempt(replace(GgufFile.builtin(), **{field: number})))  # type: ignore[arg-type]


@pytest.mark.parametrize("byte", [b"", b"\x00", b"\xff", b"\x7f"])
def test_no_weights_end_the_process(byte: bytes, attempt: Attempt) -> None:
    file = GgufFile.builtin()
    check(attempt(replace(file, data=byte * len(file.data))))


class TestRefusals:
    """What is wrong is named."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "model.gguf"

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("block_count", Value(U32, 0), "llama.block_count is 0"),
            ("block_count", Value(U32, 10**9), "llama.block_count is 1000000000, not from 1 to"),
            ("context_length", Value(U32, 2**31), "llama.context_length is 2147483648"),
            ("context_length", Value(U32, 0), "llama.context_length is 0"),
            ("expert_count", Value(U32, 4000), "llama.expert_count is 4000"),
            ("attention.layer_norm_rms_epsilon", Value(F32, math.nan), "epsilon is nan"),
            ("attention.layer_norm_rms_epsilon", Value(F32, -1), "epsilon is -1, below 0"),
            ("rope.freq_base", Value(F32, math.inf), "freq_base is inf"),
        ],
    )
    def test_numbers_that_no_model_has(
        self, name: str, value: Value, words: str, path: Path
    ) -> None:
        GgufFile.builtin().with_(**{f"llama.{name}": value}).write(path)
        with pytest.raises(ModelLoadError, match=words):
            Model(path)

    @pytest.mark.sweep(6)
    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("general.architecture", Value(STRING, b"bert"), "an embedding model"),
            ("general.architecture", Value(STRING, b"nomic-bert-moe"), "an embedding model"),
            ("general.architecture", Value(STRING, b"t5encoder"), "an embedding model"),
            ("general.architecture", Value(STRING, b"t5"), r"an encoder-decoder model \(T5\)"),
            ("general.architecture", Value(STRING, b"clip"), r"multimodal projector \(mmproj"),
            ("general.architecture", Value(STRING, b"dream"), "a text diffusion model"),
            ("general.architecture", Value(STRING, b"wavtokenizer-dec"), "a model of sound"),
            ("general.architecture", Value(STRING, b"eagle3"), "a draft model"),
            ("general.architecture", Value(STRING, b"flux"), "generates images"),
            ("general.architecture", Value(STRING, b"controlvector"), "a control vector"),
            ("general.type", Value(STRING, b"adapter"), "a LoRA adapter"),
            ("general.type", Value(STRING, b"imatrix"), "an importance matrix"),
            ("general.type", Value(STRING, b"mmproj"), "a multimodal projector"),
            ("llama.pooling_type", Value(U32, 1), "an embedding model"),
            ("llama.pooling_type", Value(U32, 3), "an embedding model"),
            ("llama.pooling_type", Value(U32, 4), "a reranker"),
            ("llama.classifier.output_labels", Value(ARRAY, [b"yes"], STRING), "a reranker"),
            ("llama.attention.causal", Value(BOOL, 0), "an embedding model"),
        ],
    )
    def test_what_generates_no_text_is_named(
        self, name: str, value: Value, words: str, path: Path
    ) -> None:
        GgufFile.builtin().with_(**{name: value}).write(path)
        with pytest.raises(ModelLoadError, match=f"it is .*{words}.*: .*name the "):
            Model(path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("pooling_type", Value(U32, 3)), ("attention.causal", Value(BOOL, 0))],
    )
    def test_also_where_the_file_says_it_at_its_end(
        self, name: str, value: Value, path: Path
    ) -> None:
        file = GgufFile.builtin()
        long = {"general.description": Value(STRING, b"x" * 2**18)}
        replace(file, metadata={**long, **file.metadata, f"llama.{name}": value}).write(path)
        with pytest.raises(ModelLoadError, match="an embedding model"):
            Model(path)

    def test_what_says_that_it_pools_nothing_is_served(self, path: Path) -> None:
        extra = {"llama.pooling_type": Value(U32, 0), "llama.attention.causal": Value(BOOL, 1)}
        GgufFile.builtin().with_(**extra).write(path)
        Model(path).close()

    def test_a_vocabulary_alone(self, path: Path) -> None:
        replace(GgufFile.builtin(), tensors=[], data=b"").write(path)
        with pytest.raises(ModelLoadError, match="a vocabulary only, without weights"):
            Model(path)

    def test_no_vocabulary(self, path: Path) -> None:
        none = Value(STRING, b"none")
        GgufFile.builtin().with_(**{"tokenizer.ggml.model": none}).write(path)
        with pytest.raises(ModelLoadError, match="no vocabulary"):
            Model(path)

    def test_a_vocabulary_without_bytes(self, path: Path) -> None:
        file = GgufFile.builtin()
        count = len(file.metadata["tokenizer.ggml.tokens"].data)
        sentencepiece = {
            "tokenizer.ggml.model": Value(STRING, b"llama"),
            "tokenizer.ggml.scores": Value(ARRAY, [0.0] * count, F32),
        }
        file.with_(**sentencepiece).write(path)
        with pytest.raises(ModelLoadError, match=r"lacks \d+ of the 256 bytes"):
            Model(path)

    def test_weights_that_are_no_numbers(self, attempt: Attempt) -> None:
        file = GgufFile.builtin()
        status, said = attempt(replace(file, data=b"\xff" * len(file.data)))
        assert status == 1
        assert "not a number (NaN)" in said

    def test_what_llama_cpp_gives_up_on_is_a_line_and_status_1(self, attempt: Attempt) -> None:
        file = GgufFile.builtin().with_(**{"llama.expert_count": Value(U32, 8)})
        status, said = attempt(file)
        assert status == 1
        assert len(said.splitlines()) == 1
        assert said.startswith("pilotlight: can't load ")
        assert "GGML_ASSERT(n_expert_used_max > 0)" in said

    def test_a_first_batch_that_llama_cpp_gives_up_on(self, attempt: Attempt) -> None:
        file = GgufFile.builtin()
        norm = replace(file.tensors[-1], type=26)  # integers
        status, said = attempt(replace(file, tensors=[*file.tensors[:-1], norm]))
        assert status == 1
        assert said.splitlines()[-1].startswith("pilotlight: can't run ")


def test_a_token_that_computes_no_numbers_ends_its_own_request(attempt: Attempt) -> None:
    """The server goes on: only what a request says leads to such a token."""
    file = GgufFile.builtin()
    embeddings = file.tensors[0]
    size = 2 * math.prod(embeddings.shape)
    table = file.data[:size]
    broken = b"\xff" * size  # NaN, in 16 bits; what the answer is read from stays whole
    bos = file.metadata["tokenizer.ggml.bos_token_id"].data
    width = 2 * embeddings.shape[0]
    broken = broken[: bos * width] + table[bos * width :][:width] + broken[(bos + 1) * width :]
    output = Tensor("output.weight", embeddings.shape, embeddings.type, len(file.data))
    status, said = attempt(
        replace(file, tensors=[*file.tensors, output], data=broken + file.data[size:] + table)
    )
    assert status == 0, said
    assert "NaN" in said
    assert said.splitlines()[-1] == "finished: error"


class TestParts:
    """Models in several files."""

    def test_a_damaged_part_is_refused(self, tmp_path: Path) -> None:
        first, second = (tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2))
        GgufFile.builtin().with_(**{"split.count": Value(U16, 2)}).write(first)
        replace(GgufFile.builtin(), n_tensors=2**63).write(second)
        with pytest.raises((ModelLoadError, ModelSourceError)):
            Model(*model_files(str(first)).paths)
