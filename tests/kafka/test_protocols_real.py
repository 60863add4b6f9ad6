"""Both group protocols and static membership, on a real Kafka."""

import subprocess
import time
from collections import Counter

import pytest

from lamplighter.kafka.polling.membership import PATIENCE
from tests.harness import ROOT, Broker, Project, stop, wait_for

pytestmark = pytest.mark.kafka

EMPTY = ("--stop-when-empty", "--sleep=1")
PARTITIONS = range(4)
FIRST_WARM_UP = 1_000_000  # the jobs from here on run while the group changes; what is in hand then may run twice


def owners(project: Project, kafka: Broker, topic: str, first: int) -> dict[int, int]:
    """One job onto each partition, numbered from `first`; which process has run it."""
    for number in PARTITIONS:
        kafka.jobs(topic, {"n": first + number}, partition=number)
    expected = {first + number for number in PARTITIONS}
    wait_for(lambda: expected <= set(project.numbers("end")), what="a job of each partition")
    return {line["n"] - first: line["pid"] for line in project.events("end") if line["n"] in expected}


def wait_for_both(project: Project, kafka: Broker, topic: str, *workers: subprocess.Popen[str]) -> None:
    """Until each of the workers has a share of the partitions."""
    deadline = time.monotonic() + 60
    first = FIRST_WARM_UP + len(project.events())
    while set(owners(project, kafka, topic, first).values()) != {worker.pid for worker in workers}:
        assert time.monotonic() < deadline, project.log()
        first += len(PARTITIONS)


def assignments(project: Project, log: str) -> int:
    """How often a worker was told of an assignment."""
    return project.log(log).count("partitions assigned")


@pytest.mark.usefixtures("protocol")
def test_a_second_worker_comes_and_goes_without_loss_or_an_idle_partition(
    project: Project, kafka: Broker, topic: str
) -> None:
    first = project.worker()
    second = project.worker()
    wait_for_both(project, kafka, topic, first, second)
    kafka.jobs(topic, *({"n": n, "sleep": 0.01} for n in range(600)))
    wait_for(lambda: len(set(project.numbers("end")) & set(range(600))) > 100)

    status = stop(second)
    wait_for(lambda: set(range(600)) <= set(project.numbers("end")), what="every job's end")
    left = owners(project, kafka, topic, 2000)

    assert status == 0, project.log()
    assert set(left.values()) == {first.pid}
    assert max(Counter(n for n in project.numbers("start") if n < FIRST_WARM_UP).values()) == 1
    assert stop(first) == 0
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.usefixtures("protocol")
def test_a_killed_workers_partitions_move_when_its_session_has_ended(
    project: Project, kafka: Broker, topic: str
) -> None:
    first, second = project.worker(), project.worker()
    wait_for_both(project, kafka, topic, first, second)
    kafka.jobs(topic, *({"n": n, "sleep": 0.01} for n in range(600)))
    wait_for(lambda: len(set(project.numbers("end")) & set(range(600))) > 100)

    second.kill()
    second.wait(10)
    wait_for(lambda: set(range(600)) <= set(project.numbers("end")), what="every job's end")
    left = owners(project, kafka, topic, 2000)

    assert set(left.values()) == {first.pid}
    assert stop(first) == 0
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.usefixtures("protocol")
def test_a_worker_without_a_partition_knows_that_it_has_none(project: Project, kafka: Broker) -> None:
    narrow = kafka.topic(partitions=1)
    project.environment.update(KAFKA_QUEUE=narrow, KAFKA_CONSUMER_GROUP_ID=narrow)
    kafka.jobs(narrow, {"n": 1})
    first = project.worker()
    wait_for(lambda: project.numbers("end") == [1])

    status = project.worker(*EMPTY, log="idle.log").wait(30)

    assert status == 0, project.log("idle.log")
    assert stop(first) == 0


@pytest.mark.parametrize("moves", [("classic", "consumer"), ("consumer", "classic")])
def test_a_group_moves_to_the_other_protocol_worker_by_worker(
    project: Project, kafka: Broker, topic: str, moves: tuple[str, str]
) -> None:
    before, after = moves
    old = project.worker(KAFKA_GROUP_PROTOCOL=before)
    wait_for_both(project, kafka, topic, old)

    new = project.worker(KAFKA_GROUP_PROTOCOL=after)
    wait_for_both(project, kafka, topic, old, new)
    status = stop(old)

    assert status == 0, project.log()
    assert set(owners(project, kafka, topic, 0).values()) == {new.pid}
    assert stop(new) == 0
    assert max(Counter(n for n in project.numbers("start") if n < FIRST_WARM_UP).values()) == 1
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.usefixtures("protocol")
def test_a_static_member_comes_back_to_its_partitions(project: Project, kafka: Broker, topic: str) -> None:
    project.configure(session_timeout=30)
    settled = project.worker(log="settled.log", KAFKA_GROUP_INSTANCE_ID="settled")
    passing = project.worker(log="passing.log", KAFKA_GROUP_INSTANCE_ID="passing")
    wait_for_both(project, kafka, topic, settled, passing)
    before = owners(project, kafka, topic, 0)
    told = assignments(project, "settled.log")

    status = stop(passing)
    for number in PARTITIONS:
        kafka.jobs(topic, {"n": 100 + number}, partition=number)
    back = project.worker(log="back.log", KAFKA_GROUP_INSTANCE_ID="passing")
    wait_for(lambda: {100, 101, 102, 103} <= set(project.numbers("end")), what="the jobs of the meantime")

    assert status == 0
    ran = {line["n"] - 100: line["pid"] for line in project.events("end") if 100 <= line["n"] < 104}
    assert ran == {number: {settled.pid: settled.pid, passing.pid: back.pid}[pid] for number, pid in before.items()}
    assert assignments(project, "settled.log") == told
    assert (stop(back), stop(settled)) == (0, 0)
    assert max(Counter(n for n in project.numbers("start") if n < FIRST_WARM_UP).values()) == 1
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_partitions_that_are_added_while_all_static_members_are_away_are_worked(
    project: Project, kafka: Broker, topic: str
) -> None:
    project.configure(session_timeout=30, revoke_wait=2, consumer_options={"topic.metadata.refresh.interval.ms": 2000})
    names = ("one", "two")
    before = [project.worker(log=f"{name}-before.log", KAFKA_GROUP_INSTANCE_ID=name) for name in names]
    wait_for_both(project, kafka, topic, *before)
    assert [stop(worker) for worker in before] == [0, 0]
    kafka.add_partitions(topic, 6)

    after = [project.worker(log=f"{name}-after.log", KAFKA_GROUP_INSTANCE_ID=name) for name in names]
    for number in range(6):
        kafka.jobs(topic, {"n": number}, partition=number)
    wait_for(lambda: set(range(6)) <= set(project.numbers("end")), seconds=60, what="a job of each partition")

    logs = [project.log(f"{name}-after.log") for name in names]
    assert [stop(worker) for worker in after] == [0, 0]
    told = [line for log in logs for line in log.splitlines() if "given partitions to nobody" in line]
    assert len(told) == 1, logs
    assert f"{topic}[4], {topic}[5]" in told[0]
    assert "WARNING" in told[0]
    assert max(Counter(n for n in project.numbers("start") if n < FIRST_WARM_UP).values()) == 1
    assert kafka.committed(topic, topic) == kafka.ends(topic)


def test_no_static_member_leaves_while_a_partition_waits_for_its_owners_job(
    project: Project, kafka: Broker, topic: str
) -> None:
    project.configure(session_timeout=30, revoke_wait=20, consumer_options={"topic.metadata.refresh.interval.ms": 2000})
    slots = ("--pool=thread", "-c4")  # whichever partition goes, its job is in hand
    names = ("one", "two", "three")
    workers = [project.worker(*slots, log=f"{name}.log", KAFKA_GROUP_INSTANCE_ID=name) for name in names]
    wait_for(
        lambda: all("partitions assigned" in project.log(f"{name}.log") for name in names), what="three assignments"
    )
    for number in PARTITIONS:
        kafka.jobs(topic, {"n": number, "sleep": 12}, partition=number)
    wait_for(lambda: set(PARTITIONS) <= set(project.numbers("start")), what="a start of each job")

    workers.append(project.worker(*slots, log="four.log", KAFKA_GROUP_INSTANCE_ID="four"))
    wait_for(lambda: f"partitions={topic}[" in project.log("four.log"), seconds=60, what="the fourth one's share")

    logs = [project.log(f"{name}.log") for name in (*names, "four")]
    assert [stop(worker) for worker in workers] == [0] * 4
    assert "given partitions to nobody" not in "".join(logs)
    assert sorted(project.numbers("start")) == list(PARTITIONS)
    assert sorted(project.numbers("end")) == list(PARTITIONS)


def test_two_workers_with_one_name_are_told_so(project: Project, kafka: Broker, topic: str, protocol: str) -> None:
    first = project.worker(log="first.log", KAFKA_GROUP_INSTANCE_ID="one")
    wait_for_both(project, kafka, topic, first)

    second = project.worker(log="second.log", KAFKA_GROUP_INSTANCE_ID="one")

    # The classic protocol ends the older one, the new protocol the newcomer.
    ended, other, log = (first, second, "first.log") if protocol == "classic" else (second, first, "second.log")
    assert ended.wait(30) == 1
    assert "group_instance_id 'one'" in project.log(log)
    assert "KAFKA_GROUP_INSTANCE_ID" in project.log(log)
    assert set(owners(project, kafka, topic, 0).values()) == {other.pid}
    assert stop(other) == 0


@pytest.mark.any_version
def test_brokers_that_do_not_know_the_protocol_are_found_out(project: Project, kafka: Broker, topic: str) -> None:
    version = subprocess.run([ROOT / "scripts/kafka", "version"], capture_output=True, text=True, check=True).stdout
    kafka.jobs(topic, {"n": 1})

    status = project.worker(*EMPTY, KAFKA_GROUP_PROTOCOL="consumer").wait(40)

    if version.startswith("3."):
        assert status == 1
        assert "older than Kafka 4.0" in project.log()
        assert "KAFKA_GROUP_PROTOCOL=classic" in project.log()
        assert project.worker(*EMPTY, KAFKA_GROUP_PROTOCOL="classic").wait(40) == 0
    assert project.numbers("end") == [1]


def test_brokers_that_are_away_are_not_taken_for_old_ones(project: Project) -> None:
    worker = project.worker(KAFKA_GROUP_PROTOCOL="consumer", KAFKA_BROKERS="127.0.0.1:1")
    wait_for(lambda: "brokers can't be reached" in project.log())
    began = time.monotonic()
    wait_for(lambda: worker.poll() is not None or time.monotonic() - began > PATIENCE + 2)

    assert stop(worker) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("protocol")
def test_scaling_up_and_down_leaves_no_partition_idle_and_moves_no_offset_back(
    project: Project, kafka: Broker, topic: str
) -> None:
    workers: list[subprocess.Popen[str]] = []
    seen: dict[int, int] = {}
    went_back: list[tuple[int, int, int]] = []
    number = 0

    for count in (1, 3, 1, 4, 2):
        while len(workers) < count:
            workers.append(project.worker(log=f"worker-{number}-{len(workers)}.log"))
        while len(workers) > count:
            assert stop(workers.pop(0)) == 0
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for partition in PARTITIONS:
                kafka.jobs(topic, *({"n": number + n} for n in range(10)), partition=partition)
                number += 10
            for partition, offset in kafka.committed(topic, topic).items():
                if offset < seen.get(partition, 0):
                    went_back.append((partition, seen[partition], offset))
                seen[partition] = offset
            time.sleep(0.1)
    wait_for(lambda: kafka.committed(topic, topic) == kafka.ends(topic), what="the last commit")

    assert went_back == []
    assert set(project.numbers("end")) == set(range(number))
    gaps = progress_gaps(project)
    assert sorted(gaps) == list(PARTITIONS)
    assert max(gaps.values()) < 10, gaps
    assert [stop(worker) for worker in workers] == [0] * len(workers)


def progress_gaps(project: Project) -> dict[int, float]:
    """For how long each partition had no job at most, in seconds; jobs came all the time."""
    gaps: dict[int, float] = {}
    last: dict[int, float] = {}
    for line in sorted(project.events("start"), key=lambda line: float(line["at"])):
        partition = int(line["position"].partition("[")[2].partition("]")[0])
        gaps[partition] = max(gaps.get(partition, 0.0), line["at"] - last.get(partition, line["at"]))
        last[partition] = line["at"]
    return gaps
