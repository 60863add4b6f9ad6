"""Errors whose classes hide something behind the names that Python, logging and the worker look at."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from lamplighter.contracts import Delivery
from lamplighter.database.errors import SqlAlchemyErrors
from lamplighter.errors import Unavailable
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing
from lamplighter.queue.failed.trace import format_trace, tellable
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.worker.loop import Worker
from tests.lamplighter.queue.conftest import POOLS, Bench, ListDelivery

told: list[str] = []


class Recurses(Exception):
    """Passes on what it has not, and never had what it passes it to."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class HasKeys(Exception):
    """Takes names for keys."""

    def __getattr__(self, name: str) -> NoReturn:
        raise KeyError(name)


class HasNoTruth(Exception):
    """Is neither true nor false."""

    def __bool__(self) -> NoReturn:
        raise RuntimeError("no truth")


class HasNothing(Exception):
    """Refuses each name."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")


class HasNoNotes(Exception):
    """Refuses what tracebacks show beside the text."""

    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no notes")


class Pretends(Exception):
    """Says that it is of another class."""

    __class__ = KeyError  # type: ignore[assignment]


class Nameless(type):
    """A class that refuses its name."""

    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no name")


class HasNoName(Exception, metaclass=Nameless):
    """Is of a class that refuses its name."""


class HasNoModule(Exception):
    """Is of a class that is nowhere."""

    __module__ = None  # type: ignore[assignment]


class RefusesItsDriver(DBAPIError):
    """Refuses what the database is told apart by."""

    @property
    def connection_invalidated(self) -> NoReturn:  # type: ignore[override]
        """Refuse it."""
        raise RuntimeError("no connection")

    @property
    def orig(self) -> NoReturn:  # type: ignore[override]
        """Leave the process."""
        raise SystemExit(3)


class CancelledWithoutNotes(asyncio.CancelledError):
    """Was cancelled, and takes no note."""

    __notes__ = 5  # type: ignore[assignment]


def caused() -> Exception:
    """One whose cause is awkward."""
    error = ValueError("caused")
    error.__cause__ = HasNothing()
    return error


def refused_driver() -> Exception:
    """One that is made without its own properties, which nobody can set."""
    return RefusesItsDriver.__new__(RefusesItsDriver, "SELECT 1", {}, ValueError())


def odd_number() -> Exception:
    """One of SQLite whose number is a text."""
    error = sqlite3.OperationalError("locked")
    error.sqlite_errorcode = "5"  # type: ignore[assignment]
    return error


AWKWARD: dict[str, Callable[[], BaseException]] = {
    "recurses": Recurses,
    "keys": HasKeys,
    "truth": HasNoTruth,
    "nothing": HasNothing,
    "notes": HasNoNotes,
    "pretends": Pretends,
    "caused": caused,
    "name": HasNoName,
    "module": HasNoModule,
    "text of a driver": lambda: IntegrityError("INSERT", {}, "duplicate key"),  # type: ignore[arg-type]
    "class of a driver": lambda: OperationalError("SELECT 1", {}, Exception),  # type: ignore[arg-type]
    "refused driver": refused_driver,
    "odd number": odd_number,
    "group": lambda: ExceptionGroup("several", [ValueError("one"), HasNothing()]),
    "cancelled": CancelledWithoutNotes,
}
awkward = pytest.mark.parametrize("kind", AWKWARD)
pools = pytest.mark.parametrize("make", POOLS)


@dataclass(frozen=True)
class Awkward(Job):
    """Raises what its data say, where they say it."""

    name = "awkward"
    tries = 2

    where: str
    kind: str

    def handle(self, delivery: Delivery) -> None:
        """Raise it, or fail with it."""
        told.append("handle")
        if self.where == "handler":
            raise AWKWARD[self.kind]()
        if self.where == "fail":
            delivery.fail(AWKWARD[self.kind]())
        if self.where == "failed":
            delivery.fail(ValueError("plain"))

    def failed(self, error: BaseException) -> None:
        """Tell it, then raise."""
        told.append("failed")
        if self.where == "failed":
            raise AWKWARD[self.kind]()


@dataclass(frozen=True)
class Batched(Job):
    """Returns it for one of many."""

    name = "batched"
    batch_size = 2
    tries = 1

    kind: str

    @classmethod
    def handle_many(cls, jobs: Sequence[Self]) -> list[BaseException | None]:
        """The first one's error."""
        return [AWKWARD[job.kind]() if job.kind else None for job in jobs]


class Waits(Job):
    """Fails; what its `failed()` needs is away the first time."""

    name = "waits"

    def handle(self) -> NoReturn:
        """Fail."""
        raise ValueError("plain")

    def failed(self, error: BaseException) -> None:
        """Tell it; the service is away."""
        told.append("failed")
        if told == ["failed"]:
            raise Unavailable("the mailer is away")


@dataclass(frozen=True)
class Awaited(Job):
    """Raises what its data say, in an event loop."""

    name = "awaited"

    kind: str

    async def handle(self) -> NoReturn:
        """Raise it."""
        raise AWKWARD[self.kind]()


class Plain(Job):
    """Comes to its end."""

    name = "plain"

    def handle(self) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _nothing_told(bench: Bench) -> None:
    told.clear()
    bench.database_errors = SqlAlchemyErrors()


def ends(delivery: ListDelivery) -> list[Any]:
    """How it was settled."""
    return [step[0] for step in delivery.settled if step != ("keep",)]


@pools
@awkward
@pytest.mark.parametrize(
    ("where", "settled", "calls"),
    [
        ("handler", ["release", "fail"], ["handle", "handle", "failed"]),
        ("fail", ["fail"], ["handle", "failed"]),
        ("failed", ["fail"], ["handle", "failed"]),
    ],
)
def test_it_ends_its_job_and_no_other(
    bench: Bench, make: Callable[..., Worker], kind: str, where: str, settled: list[str], calls: list[str]
) -> None:
    delivery, after = bench.queue.add("awkward", {"where": where, "kind": kind}), bench.queue.add("plain")

    status = bench.work(bench.worker(Awkward, Plain, make=make, concurrency=1))

    assert status == 0
    assert (ends(delivery), ends(after)) == (settled, ["delete"])
    assert told == calls
    assert len(bench.failed_jobs.records) == 1


@awkward
def test_one_that_is_returned_for_a_job_of_many_fails_this_one(bench: Bench, kind: str) -> None:
    deliveries = [bench.queue.add("batched", {"kind": one}, key=one.encode()) for one in (kind, "")]

    status = bench.work(bench.worker(Batched))

    assert status == 0
    assert [ends(delivery)[-1] for delivery in deliveries] == ["fail", "delete"]


@pools
@awkward
@pytest.mark.parametrize("event", [JobProcessing, JobProcessed, JobFailed])
def test_one_of_a_listener_ends_no_worker(
    bench: Bench, make: Callable[..., Worker], kind: str, event: type[object]
) -> None:
    def listen(_: object) -> None:
        raise AWKWARD[kind]()

    bench.events.listen(event, listen)
    failing = bench.queue.add("awkward", {"where": "fail", "kind": kind})
    plain = bench.queue.add("plain")

    status = bench.work(bench.worker(Awkward, Plain, make=make, concurrency=1))

    assert status == 0
    assert ends(failing)[-1] == "fail"
    assert ends(plain)[-1] == ("fail" if event is JobProcessing else "delete")


@pools
def test_a_failed_job_is_recorded_once_though_its_hook_waits(bench: Bench, make: Callable[..., Worker]) -> None:
    delivery = bench.queue.add("waits")

    status = bench.work(bench.worker(Waits, make=make, concurrency=1))

    assert status == 0
    assert ends(delivery) == ["release", "fail"]
    assert told == ["failed", "failed"]
    assert len(bench.failed_jobs.records) == 1


def test_a_log_that_raises_after_the_record_does_not_repeat_it(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError("no filter")

    delivery = bench.queue.add("awkward", {"where": "fail", "kind": "name"})
    logger = logging.getLogger("lamplighter.queue.worker.failing")
    logger.addFilter(refuse)
    try:
        bench.work(bench.worker(Awkward))
    finally:
        logger.removeFilter(refuse)

    assert ends(delivery) == ["fail"]
    assert len(bench.failed_jobs.records) == 1
    assert "RuntimeError: no filter" in capfd.readouterr().err


@pools
@awkward
def test_one_that_is_raised_in_an_event_loop_ends_its_job(bench: Bench, make: Callable[..., Worker], kind: str) -> None:
    delivery = bench.queue.add("awaited", {"kind": kind})

    status = bench.work(bench.worker(Awaited, make=make, concurrency=1))

    assert status == 0
    assert ends(delivery) == ["fail"]


class Undecided:
    """A database layer that raises."""

    def is_lost_connection(self, error: BaseException) -> bool:
        """Raise."""
        raise KeyError("lost")

    is_deadlock = is_lost_connection


@pools
def test_an_error_that_nobody_can_tell_apart_is_the_jobs_own(
    bench: Bench, make: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    bench.database_errors = Undecided()
    delivery = bench.queue.add("awkward", {"where": "handler", "kind": "text of a driver"})

    status = bench.work(bench.worker(Awkward, make=make, concurrency=1))

    assert status == 0
    assert ends(delivery) == ["release", "fail"]
    assert "an error of a job can't be told apart" in caplog.text


def test_an_error_stays_itself_though_it_came_from_an_awkward_one() -> None:
    error = caused()

    assert tellable(error) is error
    assert "HasNothing was raised, and can't be looked at" in str(error.__cause__)


def test_what_stands_for_an_error_says_what_it_says_and_where_it_was_raised() -> None:
    try:
        raise HasNothing("the disk is full")
    except HasNothing as raised:
        error = tellable(raised)

    assert str(error).endswith("It says: the disk is full")
    assert 'raise HasNothing("the disk is full")' in format_trace(error)


def test_one_that_can_be_told_stays_itself() -> None:
    error = ValueError("plain")

    assert tellable(error) is error


def test_what_stands_for_it_names_its_class() -> None:
    assert "test_awkward_errors.HasNothing was raised, and can't be looked at" in str(tellable(HasNothing()))
