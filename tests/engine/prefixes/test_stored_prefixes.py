"""Stored prefixes: another process finds what one has evaluated, or nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.engine.engine import Engine
from shared.engine.llama.model import Model
from shared.engine.prefixes.block import HEADER_SIZE
from shared.engine.prefixes.cache import PrefixOptions
from tests.engine.conftest import EngineFactory, Result, collect
from tests.engine.prefixes.prompts import (
    MODEL,
    SMALL,
    answer,
    asked,
    assert_alike,
    cache_of,
    engine_of,
    prompt,
)
from tests.engine.prefixes.stores import files, store_of


@pytest.fixture
def new_engine(make_engine: EngineFactory, tmp_path: Path) -> Callable[..., Engine]:
    """Makes engines with the same directory, as other processes would be."""

    def make(**options: Any) -> Engine:
        options.setdefault("store", store_of(tmp_path))
        return engine_of(make_engine, **options)

    return make


def stored(engine: Engine, tokens: list[int], **fields: Any) -> Result:
    """An answer, once what is written of its prompt is there."""
    fields.setdefault("stores_prefix", True)
    tenant = fields.pop("tenant", "")

    async def ask() -> Result:
        results = Result()
        generation = engine.submit(asked(tokens, **fields), tenant=tenant)
        async for outputs in generation:
            for output in outputs:
                results.add(output)
        await engine.end_writes(generation)
        return results

    return asyncio.run(ask())


@pytest.mark.sweep(2)
@pytest.mark.parametrize("length", [255, 256, 257, 512, 700, 1000])
def test_another_process_finds_it(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path, length: int
) -> None:
    tokens = prompt(model, length)
    evaluated = stored(new_engine(), tokens)
    assert len(files(tmp_path)) == length // 256

    other = new_engine()
    restored = answer(other, tokens)

    assert restored.cost.restored_tokens == min(length // 256 * 256, length - 1)
    assert restored.cost.cached_tokens == restored.cost.restored_tokens
    assert_alike(restored, evaluated)
    assert other.stats().prefix_store_tokens == restored.cost.restored_tokens
    assert other.stats().prefix_invalid_blocks == 0


def test_layouts_share_what_is_stored(
    make_engine: EngineFactory, model: Model, tmp_path: Path
) -> None:
    options = PrefixOptions(model=MODEL, store=store_of(tmp_path))
    pool = make_engine(n_ctx=SMALL, n_parallel=1, kv_unified=True, prefixes=options)
    shares = make_engine(n_ctx=3 * SMALL, n_parallel=3, kv_unified=False, prefixes=options)
    evaluated = stored(pool, prompt(model, 600))

    restored = answer(shares, prompt(model, 600))

    assert restored.cost.restored_tokens == 512
    assert_alike(restored, evaluated)


def test_a_longer_prompt_adds_only_its_end(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    stored(new_engine(), prompt(model, 600))
    before = {path: path.stat().st_mtime_ns for path in files(tmp_path)}

    restored = stored(new_engine(), prompt(model, 900))

    assert restored.cost.restored_tokens == 512
    after = {path: path.stat().st_mtime_ns for path in files(tmp_path)}
    assert len(after) == 3
    assert before.items() <= after.items()


def test_the_log_says_as_whose_they_are_stored(
    new_engine: Callable[..., Engine],
    model: Model,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Files have a hash in their paths, which the command for them takes."""
    with caplog.at_level("INFO", "pilotlight.prefixes"):
        stored(new_engine(), prompt(model, 300))

    (path,) = files(tmp_path)
    assert f"those of model {path.parent.name}" in caplog.text


@pytest.mark.slow
def test_what_somebody_deleted_is_written_again(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    engine = new_engine()
    stored(engine, prompt(model, 600))
    for path in files(tmp_path):
        path.unlink()
    answer(engine, prompt(model, 600, "something else"))  # takes the KV cells

    stored(engine, prompt(model, 600))

    assert len(files(tmp_path)) == 2


def flip(position: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[position] ^= 0x10
        path.write_bytes(data)

    return damage


def cut(length: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:length])


DAMAGES = {
    **{f"a bit of the header at {i}": flip(i) for i in (0, 9, 13, 20, 30, 40, 80, 1000)},
    "a bit of the header's checksum": flip(HEADER_SIZE - 1),
    "a bit of the state": flip(HEADER_SIZE + 12345),
    "the last bit": flip(-1),
    "an empty file": cut(0),
    "half a header": cut(HEADER_SIZE // 2),
    "a header alone": cut(HEADER_SIZE),
    "a byte less": lambda path: path.write_bytes(path.read_bytes()[:-1]),
}


@pytest.mark.sweep(2)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
@pytest.mark.parametrize("part_size", [2**62, 100_000], ids=["whole", "parts"])
def test_a_damaged_file_is_as_if_it_were_not_there(
    new_engine: Callable[..., Engine],
    model: Model,
    tmp_path: Path,
    damage: Callable[[Path], object],
    part_size: int,
) -> None:
    tokens = prompt(model, 600)
    evaluated = stored(new_engine(), tokens)
    for path in files(tmp_path):
        damage(path)
    store = store_of(tmp_path)
    store.part_size = part_size
    other = new_engine(store=store)

    again = stored(other, tokens)

    assert again.cost.cached_tokens == 0
    assert_alike(again, evaluated)
    is_empty = damage is DAMAGES["an empty file"]
    assert other.stats().prefix_invalid_blocks == (0 if is_empty else 1)


def test_the_second_file_damaged_leaves_the_first(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    tokens = prompt(model, 600)
    engine = new_engine()
    evaluated = stored(engine, tokens)
    _, second = cache_of(engine)._keys.keys(as_array(tokens), ("", ""))
    flip(HEADER_SIZE + 5)(next(tmp_path.rglob(second.hex())))

    restored = answer(new_engine(), tokens)

    assert restored.cost.restored_tokens == 256
    assert_alike(restored, evaluated)


def as_array(tokens: list[int]) -> Any:
    from shared.engine.llama.tokenizer import as_tokens

    return as_tokens(tokens)


def test_a_file_of_another_prompt_is_refused(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    engine = new_engine()
    evaluated = stored(engine, prompt(model, 300))
    stored(engine, prompt(model, 300, "quite another thing"))
    one_, other = files(tmp_path)
    one_.write_bytes(other.read_bytes())
    other.write_bytes(one_.read_bytes())
    third = new_engine()

    for about in ("a lighthouse", "quite another thing"):
        assert answer(third, prompt(model, 300, about)).cost.restored_tokens in (0, 256)

    assert third.stats().prefix_invalid_blocks == 1
    assert_alike(answer(new_engine(store=None), prompt(model, 300)), evaluated)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "sizes",
    [
        {"cache_type_k": "q8_0", "cache_type_v": "q8_0"},
        {"flash_attn": True},
        {"cache_type_k": "f32"},
    ],
    ids=str,
)
def test_other_settings_find_nothing(
    make_engine: EngineFactory, model: Model, tmp_path: Path, sizes: dict[str, Any]
) -> None:
    def make(**sizes: Any) -> Engine:
        options = PrefixOptions(model=MODEL, store=store_of(tmp_path))
        return make_engine(n_ctx=SMALL, n_parallel=1, prefixes=options, **sizes)

    stored(make(), prompt(model, 600))

    assert answer(make(**sizes), prompt(model, 600)).cost.cached_tokens == 0
    assert answer(make(), prompt(model, 600)).cost.restored_tokens == 512


def test_another_model_finds_nothing(new_engine: Callable[..., Engine], model: Model) -> None:
    stored(new_engine(), prompt(model, 600))

    assert answer(new_engine(model=b"another"), prompt(model, 600)).cost.cached_tokens == 0


def test_another_version_of_llama_cpp_finds_nothing(
    new_engine: Callable[..., Engine], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(new_engine(), prompt(model, 600))
    monkeypatch.setattr("shared.engine.prefix_use.LLAMA_CPP_VERSION", "0.0.1")

    assert answer(new_engine(), prompt(model, 600)).cost.cached_tokens == 0


def test_another_tenant_finds_nothing(new_engine: Callable[..., Engine], model: Model) -> None:
    tokens = prompt(model, 600)
    stored(new_engine(), tokens, tenant="one")
    engine = new_engine()

    async def ask(tenant: str, **fields: Any) -> int:
        result = (await collect(engine, asked(tokens, **fields), tenant=tenant))[0]
        return result.cost.cached_tokens

    assert asyncio.run(ask("two")) == 0
    assert asyncio.run(ask("one", cache_salt="a key")) == 0
    assert asyncio.run(ask("one")) == 512


def test_an_old_file_is_not_used(new_engine: Callable[..., Engine], model: Model) -> None:
    tokens = prompt(model, 600)
    stored(new_engine(), tokens)
    engine = new_engine(max_age=1e-6)

    assert answer(engine, tokens).cost.cached_tokens == 0
    assert engine.stats().prefix_invalid_blocks == 0


def test_what_is_seen_twice_is_stored(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    engine = new_engine()
    stored(engine, prompt(model, 600), stores_prefix=None)
    assert files(tmp_path) == []

    # It is in the KV cells all the time: nothing is evaluated, and still it is stored.
    stored(engine, prompt(model, 600), stores_prefix=None)
    assert len(files(tmp_path)) == 2

    stored(engine, prompt(model, 900), stores_prefix=None)
    assert len(files(tmp_path)) == 2
    assert engine.stats().prefix_written_tokens == 512


def test_what_is_for_memory_only_is_not_stored(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    engine = new_engine()
    for _ in range(3):
        stored(engine, prompt(model, 600), stores_prefix=False)

    assert files(tmp_path) == []


def test_other_tenants_requests_do_not_count_as_seen(
    new_engine: Callable[..., Engine], model: Model, tmp_path: Path
) -> None:
    engine = new_engine()
    for tenant in ("one", "two", "three"):
        stored(engine, prompt(model, 600), stores_prefix=None, tenant=tenant)

    assert files(tmp_path) == []


def test_several_choices_write_once(
    make_engine: EngineFactory, model: Model, tmp_path: Path
) -> None:
    options = PrefixOptions(model=MODEL, store=store_of(tmp_path))
    engine = make_engine(n_ctx=3 * SMALL, n_parallel=3, prefixes=options)

    results = asyncio.run(
        _collect_and_end(engine, asked(prompt(model, 600), n=3, stores_prefix=True))
    )

    assert len(files(tmp_path)) == 2
    restored = asyncio.run(
        _collect_and_end(make_again(make_engine, tmp_path), asked(prompt(model, 600), n=3))
    )
    assert restored[0].cost.restored_tokens == 512
    for again, evaluated in zip(restored, results, strict=True):
        assert_alike(again, evaluated)


def make_again(make_engine: EngineFactory, root: Path) -> Engine:
    options = PrefixOptions(model=MODEL, store=store_of(root))
    return make_engine(n_ctx=3 * SMALL, n_parallel=3, prefixes=options)


async def _collect_and_end(engine: Engine, request: Any) -> list[Result]:
    results = [Result() for _ in range(request.n)]
    generation = engine.submit(request)
    async for outputs in generation:
        for output in outputs:
            results[output.index].add(output)
    await engine.end_writes(generation)
    return results
