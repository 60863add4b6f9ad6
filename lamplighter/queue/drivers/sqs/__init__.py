"""Queues of Amazon SQS, shared with PHP workers; attempts are SQS's count of receptions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lamplighter.contracts import Application
from lamplighter.errors import ConfigError
from lamplighter.queue.drivers.leasing.claims import ClaimOptions, make_claims
from lamplighter.queue.drivers.leasing.queue import LeasingQueue
from lamplighter.queue.drivers.leasing.store import RETRY_AFTER
from lamplighter.queue.drivers.sqs.account import Access, Account
from lamplighter.queue.drivers.sqs.store import LONGEST_LEASE, SqsStore
from lamplighter.support.options import parse_options

LONGEST_WAIT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsOptions(ClaimOptions):
    """The keys of a connection with `driver: sqs`: Laravel's, and `retry_after` and `block_for`.

    Attributes:
        key, secret, token: empty where the environment, a profile or the machine's role gives them.
        prefix: what the addresses of queues begin with; without one SQS is asked for the address of each.
        suffix: what the names of queues end with; before `.fifo`.
        endpoint: the server's address where it is not Amazon's.
        retry_after: the visibility timeout of a job that was taken, in whole seconds; extended while it runs.
        block_for: seconds that one long poll of an idle worker of a single queue lasts, 20 at most, and a third of
            `retry_after`. Its process ends after the poll that is under way.
    """

    driver: Literal["sqs"]
    key: str | None = ""
    secret: str | None = ""
    token: str | None = ""
    prefix: str | None = ""
    queue: str = "default"
    suffix: str | None = ""
    region: str = "us-east-1"
    endpoint: str | None = ""
    retry_after: int = RETRY_AFTER
    block_for: int = 10


def connect(app: Application, name: str, options: Mapping[str, Any]) -> LeasingQueue:
    """The connection of config/queue.py."""
    where = f"config/queue.py (connections.{name})"
    settings = parse_options(SqsOptions, options, where=where)
    for key, value, least, most in (
        ("retry_after", settings.retry_after, 1, LONGEST_LEASE),
        ("block_for", settings.block_for, 0, LONGEST_WAIT),
    ):
        if not least <= value <= most:
            raise ConfigError(f"{where} has {value} for the key {key!r}, which takes {least} to {most}.")
    access = Access(
        key=settings.key or "",
        secret=settings.secret or "",
        token=settings.token or "",
        region=settings.region,
        endpoint=settings.endpoint or "",
        prefix=settings.prefix or "",
        suffix=settings.suffix or "",
    )
    store = SqsStore(Account(access), seconds=settings.retry_after, block_for=settings.block_for)
    claims = make_claims(settings, where=where)
    return LeasingQueue(name, store, default_queue=settings.queue, claims=claims)
