"""The promises of the README and docs/, each as a check of a round's history and of what it has left."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.chaos.evidence import Evidence

Found = Iterator[tuple[int | None, str]]


@dataclass(frozen=True)
class Promise:
    """What is promised, in which file, and what finds that it is not so.

    Attributes:
        sentence: the promise in short; the file says it in full.
        check: yields for each breach the number of the job, None where it is about none, and what is wrong.
    """

    file: str
    sentence: str
    check: Callable[[Evidence], Found]

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return self.check.__name__.replace("_", " ")


@dataclass(frozen=True)
class Breach:
    """A promise that was broken, by the job `n` where it is one job's."""

    promise: Promise
    what: str
    n: int | None = None


def breaches(evidence: Evidence) -> list[Breach]:
    """Every promise that was broken."""
    return [Breach(promise, what, n) for promise in promises() for n, what in promise.check(evidence)]


def promises() -> list[Promise]:
    """All of them."""
    # Here, since each of these modules has the names above.
    from tests.faults.chaos.promises import (
        attempts,
        claims,
        commits,
        delays,
        ends,
        failures,
        operators,
        order,
        processes,
        repeats,
    )

    modules = (ends, failures, attempts, delays, order, repeats, commits, claims, operators, processes)
    return [promise for module in modules for promise in module.PROMISES]
