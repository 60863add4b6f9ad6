"""What `queue:prune-claims` may delete."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lamplighter.queue.claims.folder import FileClaims


def _none() -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Prunable:
    """The payloads that a connection has put aside.

    Attributes:
        hours: no job that is still to run has an older one.
        waiting: the names of those that jobs claim which wait elsewhere than on their queue.
    """

    folder: FileClaims
    hours: float
    waiting: Callable[[], Collection[str]] = _none


@runtime_checkable
class KeepsClaims(Protocol):
    """A connection that may put payloads aside."""

    def prunable_claims(self) -> Prunable | None:
        """What may be deleted; None where nothing is put aside."""
        ...
