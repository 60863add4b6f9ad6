"""Many jobs in one call on a real Kafka: what a killed or overdue call costs, and in which order its jobs are done."""

import random
from collections import Counter

import pytest

from tests.feature.test_many import JOBS
from tests.harness import Broker, Project, stop, wait_for

pytestmark = pytest.mark.kafka

ORDERED = '''

@dataclass(frozen=True)
class Ordered(Job):
    """Fails as often as its data say, for itself."""

    name = "ordered"
    batch_size = 20
    batch_wait_ms = 5
    tries = 3
    backoff = (0, 0.05)

    n: int = 0
    key_: str = ""
    fails: int = 0

    @classmethod
    def handle_many(cls, jobs: Sequence["Ordered"], deliveries: Sequence[Delivery]) -> list[Exception | None]:
        if any(job.n % 50 == 49 for job in jobs) and len(jobs) > 1:
            raise RuntimeError("all together")
        errors = []
        for job, delivery in zip(jobs, deliveries, strict=True):
            fails = delivery.attempts <= job.fails
            errors.append(ValueError("not yet") if fails else None)
            note("tried" if fails else "end", n=job.n, key=job.key_)
        return errors
'''


@pytest.fixture
def many(project: Project) -> Project:
    """The project with jobs that are handled together."""
    (project.folder / "app/Jobs/probe.py").write_text(JOBS + ORDERED)
    return project


def done(project: Project) -> list[int]:
    """The jobs of the calls that came to their ends, sorted."""
    return sorted(n for line in project.events("done") for n in line["jobs"])


def until_it_ends_well(project: Project, *options: str, most: int = 6) -> list[int]:
    """Start workers until one stops at the end of the queue; their exit codes."""
    statuses: list[int] = []
    while 0 not in statuses:
        assert len(statuses) < most, project.log()
        statuses.append(project.worker("--stop-when-empty", "--sleep=1", *options).wait(60))
    return statuses


def test_a_call_that_is_killed_is_begun_again_one_by_one(many: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n, "how": "hang" if n == 4 else ""} for n in range(10)), name="together", partition=0)
    worker = many.worker()
    wait_for(lambda: many.events("call"))

    worker.kill()
    worker.wait(10)
    statuses = until_it_ends_well(many)

    assert many.events("call")[0]["jobs"] == list(range(10))
    assert [line["jobs"] for line in many.events("call")[1:6]] == [[0], [1], [2], [3], [4]]
    assert done(many) == [n for n in range(10) if n != 4]
    assert many.numbers("failed") == [4]
    assert 137 in statuses  # its own timeout, when it hung alone
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_a_call_that_overruns_its_worker_is_begun_again_one_by_one(many: Project, kafka: Broker, topic: str) -> None:
    kafka.jobs(topic, *({"n": n, "how": "hang" if n == 4 else ""} for n in range(10)), name="together", partition=0)

    statuses = until_it_ends_well(many)

    assert statuses[0] == 137
    assert "The job's stack" in many.log()
    assert [(line["n"], line["error"]) for line in many.events("failed")] == [(4, "JobTimedOut")]
    assert done(many) == [n for n in range(10) if n != 4]
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_a_call_whose_worker_stops_after_its_grace_runs_again_for_nothing(
    many: Project, kafka: Broker, topic: str
) -> None:
    kafka.jobs(topic, *({"n": n, "how": "hang" if n == 4 else ""} for n in range(5)), name="together", partition=0)
    worker = many.worker("--grace=0.5")
    wait_for(lambda: many.events("call"))

    first = stop(worker)
    until_it_ends_well(many)

    assert first == 1
    assert [line["attempts"] for line in many.events("call")][:2] == [1, 1]
    assert done(many) == [0, 1, 2, 3]
    assert many.numbers("failed") == [4]


@pytest.mark.parametrize("ordering", ["key", "partition"])
@pytest.mark.parametrize(("pool", "slots"), [("solo", 1), ("thread", 4), ("process", 2), ("async", 4)])
def test_jobs_of_a_key_end_in_their_order(
    many: Project, kafka: Broker, topic: str, pool: str, slots: int, ordering: str
) -> None:
    many.configure(ordering=ordering)
    count, keys = 300, 7
    fails = random.Random(4).choices([0, 1, 2], [12, 1, 1], k=count)
    body = '{"job":"ordered","data":{"n":%d,"key_":"%d","fails":%d}}'
    jobs: list[tuple[bytes | None, bytes | None]] = [
        (str(n % keys).encode(), (body % (n, n % keys, fails[n])).encode()) for n in range(count)
    ]
    kafka.publish(topic, jobs)

    status = many.worker(f"--pool={pool}", f"-c{slots}", "--stop-when-empty", "--sleep=1").wait(90)

    assert status == 0, many.log()
    last: dict[int, int] = {line["n"]: place for place, line in enumerate(many.events("end"))}
    assert sorted(last) == list(range(count))
    for key in range(keys):
        places = [last[n] for n in range(count) if n % keys == key]
        assert places == sorted(places), f"key {key}"
    assert Counter(many.numbers("failed")) == Counter()
    assert kafka.committed(topic, topic) == kafka.ends(topic)
