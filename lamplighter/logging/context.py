"""Which job this is about."""

from contextvars import ContextVar
from typing import Protocol


class PlacedDelivery(Protocol):
    """As much of a delivery as a record tells."""

    @property
    def position(self) -> str: ...


class JobContext(Protocol):
    """As much of a job in hand as a record tells."""

    name: str
    attempts: int

    @property
    def id(self) -> str: ...
    @property
    def delivery(self) -> PlacedDelivery: ...


job_context: ContextVar[JobContext | None] = ContextVar("lamplighter_job", default=None)


def job_fields() -> dict[str, object]:
    """The fields that tell which job is in hand; empty outside of one."""
    job = job_context.get()
    if job is None:
        return {}
    return {"job": job.name, "id": job.id, "attempt": job.attempts, "position": job.delivery.position}
