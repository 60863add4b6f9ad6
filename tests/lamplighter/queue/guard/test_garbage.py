"""What the garbage collector is told before the first job."""

import gc
from collections.abc import Iterator

import pytest

from lamplighter.queue.guard.garbage import LEAST, spare_the_collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave the collector of the tests as it was."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    there: list[list[int]] = [[] for _ in range(1000)]

    spare_the_collector()

    assert gc.get_freeze_count() >= len(there)
    assert gc.get_threshold()[0] == LEAST


@pytest.mark.parametrize("chosen", [0, LEAST + 1])
def test_what_an_application_has_chosen_stays(chosen: int) -> None:
    gc.set_threshold(chosen, 10, 10)

    spare_the_collector()

    assert gc.get_threshold()[0] == chosen
