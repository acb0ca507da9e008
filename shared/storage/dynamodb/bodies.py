"""Bodies of completions, as objects in an S3 bucket."""

from __future__ import annotations

from botocore.exceptions import ClientError

from shared.storage.dynamodb.clients import Clients
from shared.storage.dynamodb.retries import Budget, error_code


class Bodies:
    """The objects of a bucket. Raises AWS's errors and `StoreError`."""

    def __init__(self, clients: Clients, bucket: str) -> None:
        self._clients = clients
        self.bucket = bucket

    def write(self, budget: Budget, key: str, body: bytes) -> None:
        """Write an object, unless there is one; S3 has it on several disks when this returns."""
        try:
            budget.run(
                lambda: self._clients.s3.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType="application/json",
                    ContentEncoding="gzip",
                    IfNoneMatch="*",
                )
            )
        except ClientError as error:
            if error_code(error) != "PreconditionFailed":
                raise

    def read(self, budget: Budget, key: str) -> bytes | None:
        """An object, None if there is none."""

        def attempt() -> bytes:
            # With the reading: a connection may also break in the middle of the body.
            return self._clients.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

        try:
            return budget.run(attempt)
        except ClientError as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise

    def delete(self, budget: Budget, key: str) -> None:
        """Delete an object, if it is there."""
        budget.run(lambda: self._clients.s3.delete_object(Bucket=self.bucket, Key=key))
