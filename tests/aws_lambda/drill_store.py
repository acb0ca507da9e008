"""A store that fails as a drill wants it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.aws_lambda.drill import ACCESS_KEY
from tests.storage.dynamodb.aws import Aws, new_session
from tests.storage.dynamodb.faults import Fault, FaultyProxy, Plan
from tests.storage.dynamodb.moto_server import ENVIRONMENT


class Store:
    """A table and a bucket of a function's own, behind a proxy that fails; neither exists yet."""

    def __init__(self, url: str, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self.aws = Aws.fresh(url)
        self.environ = {
            **ENVIRONMENT,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_ENDPOINT_URL": proxy.url,
            "PILOTLIGHT_STORE": f"dynamodb:{self.aws.table},{self.aws.bucket}",
        }

    def create_bucket(self) -> None:
        """The bucket alone."""
        new_session().client("s3", endpoint_url=self.aws.url).create_bucket(Bucket=self.aws.bucket)

    def create(self) -> None:
        """All of it."""
        with closing(self.aws.store()) as store:
            store.initialize()


@contextmanager
def faulty_store(url: str) -> Iterator[Store]:
    """A store on moto's server at ``url``."""
    with FaultyProxy(url).serving() as proxy:
        yield Store(url, proxy)


def refused(names: set[str], status: int, code: str, message: str) -> Plan:
    """Calls of these names are refused."""
    fault = Fault("refused", refusal=(status, code, message))
    return lambda _, name: fault if name in names else None


def at_first(plan: Plan, count: int) -> Plan:
    """Only of the first calls."""
    return lambda number, name: plan(number, name) if number < count else None


DYNAMODB = {"TransactWriteItems", "Query", "GetItem"}
S3 = {"PUT", "GET"}
TABLE_DENIED = refused(
    DYNAMODB, 400, "AccessDeniedException", "User: ARN is not authorized to perform: ACTION"
)
BUCKET_DENIED = refused(S3, 403, "AccessDenied", "Access Denied")
NO_BUCKET = refused(S3, 404, "NoSuchBucket", "The specified bucket does not exist")
EXPIRED = refused(S3, 400, "ExpiredToken", "The provided token has expired.")
PROVISIONED = refused(
    DYNAMODB, 400, "ProvisionedThroughputExceededException", "Rate of requests exceeds it"
)
THROTTLED = refused(DYNAMODB, 400, "ThrottlingException", "Throughput exceeds the current limit")
