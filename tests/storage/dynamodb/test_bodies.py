"""Entries and bodies belong together."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace

import pytest

from shared.storage.base import DamagedCompletionError, StoreError
from shared.storage.dynamodb.keys import body_key
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws, new_session


def test_the_first_completion_of_an_id_stays(shared_aws: Aws, tenant: str) -> None:
    first = sample(tenant=tenant, metadata={"k": "v"})

    with closing(shared_aws.store()) as store:
        store.put(first)
        store.put(replace(first, response={"other": "answer"}, metadata={"k": "w"}))

        assert store.get(tenant, "chat", first.id) == first


def test_a_body_stays_whole_beside_changed_metadata(shared_aws: Aws, tenant: str) -> None:
    completion = sample(tenant=tenant, metadata={"k": "v"})
    with closing(shared_aws.store()) as store:
        store.put(completion)
        body = shared_aws.bodies()[body_key(completion)]

        store.update_metadata(tenant, "chat", completion.id, {"k": "w"})

    assert shared_aws.bodies()[body_key(completion)] == body


def test_a_deleted_completions_body_is_gone_at_once(shared_aws: Aws, tenant: str) -> None:
    completion = sample(tenant=tenant)
    with closing(shared_aws.store()) as store:
        store.put(completion)

        assert store.delete(tenant, "chat", completion.id)

    assert body_key(completion) not in shared_aws.bodies()


def test_a_body_that_somebody_took_does_not_break_the_list(
    shared_aws: Aws, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    completions = [sample(number, tenant=tenant) for number in range(3)]
    shared_aws.preload(completions)
    s3 = new_session().client("s3", endpoint_url=shared_aws.url)
    s3.delete_object(Bucket=shared_aws.bucket, Key=body_key(completions[1]))

    with closing(shared_aws.store()) as store, caplog.at_level(logging.ERROR):
        page = store.list(CompletionQuery(tenant=tenant, kind="chat", limit=2))

        assert list(page.completions) == [completions[0], completions[2]]
        assert not page.has_more
        assert page.damaged == [completions[1].id]
        message = (
            f"completion {completions[1].id} in s3://{shared_aws.bucket}/"
            f"{body_key(completions[1])} is damaged: the body is missing"
        )
        assert message in caplog.text
        with pytest.raises(DamagedCompletionError, match=message):
            store.get(tenant, "chat", completions[1].id)
        assert store.delete(tenant, "chat", completions[1].id)


def test_an_id_that_would_not_fit_into_keys_is_refused(shared_aws: Aws, tenant: str) -> None:
    with closing(shared_aws.store()) as store, pytest.raises(StoreError, match="no id"):
        store.put(replace(sample(tenant=tenant), id="a/b"))
