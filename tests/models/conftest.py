"""One loader of botocore's data for the tests of models in S3."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest


@pytest.fixture(scope="package", autouse=True)
def botocore_data() -> Iterator[None]:
    """What sessions read of botocore's data is read once.

    Each model that is fetched has a session of its own, which takes 0.18 s of processor time to
    make a client, most of it to parse descriptions of AWS's services.
    """
    import botocore.session  # takes its time
    from botocore.loaders import Loader, create_loader

    made = cache(create_loader)

    def shared_loader(search_path: str | None = None) -> Loader:
        loader = made(search_path)
        loader.search_paths[:] = dict.fromkeys(loader.search_paths)  # boto3 adds its own each time
        return loader

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", shared_loader)
        yield
