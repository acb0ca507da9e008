"""DynamoDB, which finds completions, and S3, which has their bodies.

One table with the keys ``pk`` and ``sk`` holds three sorts of items (`keys`, `items`). A
completion's *entry* has its metadata and says where the body lies. For the model and for each
metadata pair there is an *index item* with nothing but keys, so that a filter is a range of one
partition per shard, in the order of the ids. While a completion is being deleted a *deletion* says
which body is left to remove.

What makes a completion exist is its entry: the body is written before it and removed after it, and
entry and index items change in one transaction. So a crash at any point leaves at most a body that
nothing refers to. Reads are strongly consistent: what was put is listed at once.
"""

from shared.storage.dynamodb.store import DynamoDBStore

__all__ = ["DynamoDBStore"]
