"""What rounds of chaos are drawn from, and which promises they check."""

import pytest

from tests.faults.chaos.disturbances import KINDS as DISTURBANCES
from tests.faults.chaos.drawing import POOLS, draw
from tests.faults.chaos.kinds import CHILDREN, KINDS
from tests.faults.chaos.promises import promises
from tests.faults.chaos.sabotage import SABOTAGES, Sabotage, rounds_for

pytestmark = pytest.mark.faults


def test_a_seed_has_the_same_round_again() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_a_hundred_rounds_have_every_kind_of_job_and_disturbance() -> None:
    rounds = [draw(seed) for seed in range(100)]

    jobs = {order.kind for round in rounds for order in round.orders if order.n < CHILDREN}
    disturbances = {one.kind for round in rounds for one in round.disturbances}

    assert jobs == set(KINDS)
    assert disturbances == set(DISTURBANCES)
    assert {round.setting.pool for round in rounds} == set(POOLS)


def test_leaving_out_kinds_changes_nothing_else() -> None:
    whole = draw(7)

    some = draw(7, jobs=["plain"], disturbances=["kill"])

    assert some.setting == whole.setting
    assert 0 < len(some.orders) < len(whole.orders)
    assert all(order in whole.orders for order in some.orders)
    assert some.disturbances == tuple(one for one in whole.disturbances if one.kind == "kill")


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_each_sabotage_has_rounds_in_which_it_shows(sabotage: Sabotage) -> None:
    assert next(rounds_for(sabotage, 0)).seed < 50


def test_a_sabotage_breaks_what_is_promised() -> None:
    names = {promise.name for promise in promises()}

    assert all(sabotage.breaks <= names for sabotage in SABOTAGES)
