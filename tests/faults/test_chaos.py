"""Whole rounds of chaos: a drawn setting, drawn jobs, drawn disturbances, and every promise checked."""

import os
import random
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tests.faults.chaos.clusters import Clusters
from tests.faults.chaos.drawing import draw
from tests.faults.chaos.plan import Round
from tests.faults.chaos.report import report
from tests.faults.chaos.running import Outcome, run
from tests.faults.chaos.sabotage import SABOTAGES, Sabotage, rounds_for
from tests.faults.fleet import LONG
from tests.harness import Broker

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.kafka]

ROUNDS = int(os.environ.get("FAULTS_ROUNDS") or (100 if LONG else 2))
FIRST = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
JOBS = [kind for kind in os.environ.get("CHAOS_JOBS", "").split(",") if kind]
DISTURBANCES = os.environ.get("CHAOS_DISTURBANCES")
CHANCES = 3  # rounds in which a sabotage is to be found: a kill may hide what it does

Play = Callable[..., Outcome]


@pytest.fixture(scope="module")
def play(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Runs a round; the brokers that rounds may harm serve all of them."""
    folder = tmp_path_factory.mktemp("chaos")
    clusters = Clusters(kafka, folder)

    def play(round: Round, *, sabotage: str = "") -> Outcome:
        with clusters.lend(round) as cluster:
            return run(round, tmp_path_factory.mktemp(f"round-{round.seed}"), cluster, sabotage=sabotage)

    yield play
    clusters.close()


@pytest.mark.parametrize("place", range(ROUNDS))
def test_a_round_of_chaos_keeps_every_promise(play: Play, place: int) -> None:
    """Invariant: whatever is drawn, no promise of the README is broken."""
    kinds = None if DISTURBANCES is None else [kind for kind in DISTURBANCES.split(",") if kind]

    outcome = play(draw(FIRST + place, jobs=JOBS, disturbances=kinds))

    print(report(outcome) if outcome.breaches else outcome, flush=True)  # noqa: T201
    assert not outcome.breaches, str(outcome)


@pytest.mark.parametrize("sabotage", SABOTAGES if LONG else SABOTAGES[:1], ids=lambda sabotage: sabotage.name)
def test_a_sabotage_is_found(play: Play, sabotage: Sabotage) -> None:
    """The rounds are worth something: they find a fault that is put into the framework on purpose."""
    found: set[str] = set()

    for round in islice(rounds_for(sabotage, FIRST), CHANCES):
        outcome = play(round, sabotage=sabotage.name)
        found |= {breach.promise.name for breach in outcome.breaches}
        print(f"{sabotage.name}: {outcome}; {', '.join(sorted(found)) or 'nothing'}")  # noqa: T201
        if found & sabotage.breaks:
            break

    assert found & sabotage.breaks, f"{sabotage.name} went unseen; what was found is {sorted(found)}"
