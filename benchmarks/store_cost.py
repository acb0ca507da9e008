"""``python -m benchmarks.store_cost``: what stored completions cost in DynamoDB and S3, as tables.

Fills moto's server with completions of one tenant and lists them through the store, over HTTP, with
``ReturnConsumedCapacity``. Units are exact, since they follow from the sizes of items; times would
be moto's and are not shown. docs/scale.md explains the figures.
"""

import argparse
import math
from contextlib import closing

from shared.storage.dynamodb.items import Entry
from shared.storage.dynamodb.retries import RetryPolicy
from shared.storage.types import CompletionQuery
from tests.storage.completions import sample
from tests.storage.dynamodb.aws import Aws, new_session
from tests.storage.dynamodb.consumption import Consumption
from tests.storage.dynamodb.moto_server import item_size, moto_server
from tests.storage.dynamodb.queries import TENANT, completions, mixed_queries, queries

WRITE_UNITS_PRICE = 0.625
"""Dollars for a million, on demand, us-east-1, standard table class, since November 2024."""
READ_UNITS_PRICE = 0.125
BODY_WRITES_PRICE = 5.0
"""Dollars for a million PUT requests to S3 Standard, us-east-1."""
BODY_READS_PRICE = 0.4
STORAGE_PRICE = 0.25
"""Dollars for a GB of DynamoDB in a month, beyond the first 25."""

_OVERHEAD = 100
"""Bytes that DynamoDB bills for each stored item, besides its own."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--count", type=int, default=20_000, help="completions in the table")
    print(writes())
    print(reads(parser.parse_args().count))


def writes() -> str:
    """A table of what it costs to store completions, by the number of their metadata pairs."""
    rows = [
        "| metadata pairs | items | write units | DynamoDB, $ per million | with the body's PUT "
        "| bytes in DynamoDB | $ per million and month |",
        "|---|---|---|---|---|---|---|",
    ]
    for n_pairs in (0, 1, 3, 8, 16):
        metadata = {f"key-{number:02}": f"value-{number:08}" for number in range(n_pairs)}
        entry = Entry.of(sample(tenant="a-team", metadata=metadata))
        sizes = [item_size(item) for item in (entry.item(), *entry.index_items())]
        units = sum(2 * math.ceil(size / 1024) for size in sizes)  # 2: in a transaction
        dollars = units * WRITE_UNITS_PRICE
        stored = sum(sizes) + _OVERHEAD * len(sizes)
        rows.append(
            f"| {n_pairs} | {len(sizes)} | {units} | {dollars:.2f} "
            f"| {dollars + BODY_WRITES_PRICE:.2f} | {stored:,} "
            f"| {stored * STORAGE_PRICE / 1000:.2f} |"
        )
    return "\n".join(["## Storing", "", *rows, ""])


def reads(count: int) -> str:
    """A table of what pages read with ``count`` completions in the table."""
    rows = [
        "| what is listed | page | found | requests | items read | items / page | read units "
        "| bodies | $ per million pages |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    session = new_session()
    consumption = Consumption(session)
    with moto_server() as url:
        aws = Aws.fresh(url)
        # Time for moto, which looks at all items of a partition in each query.
        policy = RetryPolicy(budget=120)
        with closing(aws.store(session=session, retries=policy)) as store:
            store.initialize()
            aws.preload(completions(count))
            for name, fields in {**queries(count), **mixed_queries()}.items():
                query = CompletionQuery(tenant=TENANT, kind="chat", **fields)
                consumption.reset()
                page = store.list(query)
                dollars = consumption.units * READ_UNITS_PRICE
                dollars += consumption.bodies * BODY_READS_PRICE
                rows.append(
                    f"| {name} | {query.limit} | {len(page.completions)} | {consumption.requests} "
                    f"| {consumption.items:,} | {consumption.items / query.limit:.1f} "
                    f"| {consumption.units:.0f} | {consumption.bodies} | {dollars:.2f} |"
                )
    return "\n".join([f"## Listing, with {count:,} completions in the table", "", *rows, ""])


if __name__ == "__main__":
    main()
