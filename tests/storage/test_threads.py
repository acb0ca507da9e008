"""A store is used by several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.storage.base import CompletionStore
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample, sample_id
from tests.storage.listing import listed, listed_ids, pages_of_ids

N_THREADS = 4
N_EACH = 8
N = N_THREADS * N_EACH


def test_threads_put_and_list_at_once(store: CompletionStore, tenant: str) -> None:
    completions = {
        completion.id: completion
        for completion in (sample(n, tenant=tenant, metadata={"run": "7"}) for n in range(N))
    }

    def put(thread: int) -> None:
        for number in range(thread, N, N_THREADS):
            store.put(completions[sample_id(number)])
            # What was put is there at once, for this thread as for all.
            assert store.get(tenant, "chat", sample_id(number)) is not None
            assert sample_id(number) in listed_ids(store, tenant)

    def look() -> None:
        for order in ("asc", "desc") * 4:
            found = listed(store, tenant, order=order, metadata={"run": "7"})
            assert found == [completions[completion.id] for completion in found]
            ids = [completion.id for completion in found]
            assert ids == sorted(set(ids), reverse=order == "desc")

    with ThreadPoolExecutor(N_THREADS + 2) as pool:
        work = [pool.submit(put, thread) for thread in range(N_THREADS)]
        work += [pool.submit(look) for _ in range(2)]
    for future in work:
        future.result()

    assert listed(store, tenant) == [completions[i] for i in sorted(completions)]


def test_threads_putting_the_same_completion_keep_one(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"run": "7"})

    with ThreadPoolExecutor(N_THREADS) as pool:
        list(pool.map(store.put, [completion] * N_THREADS))

    assert listed(store, tenant, metadata={"run": "7"}) == [completion]


def test_one_of_many_updates_stands_whole(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"writer": "none", "none": "yes"})
    store.put(completion)
    written = [{"writer": str(i), f"by-{i}": "yes"} for i in range(N_THREADS)]

    with ThreadPoolExecutor(N_THREADS) as pool:
        results = list(
            pool.map(
                lambda metadata: store.update_metadata(tenant, "chat", completion.id, metadata),
                written,
            )
        )

    assert [result.metadata for result in results if result] == written
    found = store.get(tenant, "chat", completion.id)
    assert found is not None
    assert found.metadata in written
    for metadata in [*written, completion.metadata]:
        matching = [completion.id] if metadata == found.metadata else []
        assert listed_ids(store, tenant, metadata=metadata) == matching
        for key, value in metadata.items():
            assert listed_ids(store, tenant, metadata={key: value}) == matching


def test_one_of_many_deletions_finds_it(store: CompletionStore, tenant: str) -> None:
    completion = sample(tenant=tenant)
    store.put(completion)

    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(
            pool.map(lambda _: store.delete(tenant, "chat", completion.id), range(N_THREADS))
        )

    assert True in found
    assert listed_ids(store, tenant) == []


def test_pages_stay_whole_while_completions_are_deleted(
    store: CompletionStore, tenant: str
) -> None:
    for number in range(N):
        store.put(sample(number, tenant=tenant, metadata={"run": "7"}))
    kept = [sample_id(number) for number in range(0, N, 2)]

    with ThreadPoolExecutor(1) as pool:
        deletions = [
            pool.submit(store.delete, tenant, "chat", sample_id(number))
            for number in range(1, N, 2)
        ]
        query = CompletionQuery(tenant=tenant, kind="chat", limit=5, metadata={"run": "7"})
        seen = [i for page in pages_of_ids(store, query) for i in page]

    assert all(deletion.result() for deletion in deletions)
    assert seen == sorted(set(seen))
    assert set(kept) <= set(seen)
    assert listed_ids(store, tenant) == kept
