"""A log that loses its end while the group goes on: an unclean election, a power loss, a restored disk."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter.kafka.deadletters.letters import DeadLetters
from lamplighter.kafka.producing.partitioner import any_partition
from lamplighter.kafka.settings.settings import KafkaSettings
from lamplighter.queue.failed import Failure
from tests.harness import Broker, Node, Project, free_ports, stop, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.kafka, pytest.mark.slow]

OLD = range(100)
NEW, MORE = range(1000, 1020), range(2000, 2080)


@pytest.fixture
def home(tmp_path: Path, kafka: Broker) -> Path:
    """The folder of a broker of the test's own."""
    home = tmp_path / "kafka"
    home.mkdir()
    return home


@pytest.fixture
def node(home: Path) -> Iterator[Node]:
    """That broker, whose log files may be cut."""
    node = Node(home, free_ports(2))
    yield node
    node("down")


class Cut:
    """One partition of a hundred jobs that have run, and a broker which comes back with half of them."""

    def __init__(self, folder: Path, home: Path, node: Node) -> None:
        self.kafka = Broker(node.address)
        self.topic = self.kafka.topic(partitions=1)
        self.home = home
        self.node = node
        folder.mkdir()
        environment = {"KAFKA_BROKERS": node.address, "KAFKA_QUEUE": self.topic, "KAFKA_CONSUMER_GROUP_ID": self.topic}
        self.project = Project(folder, environment={**environment, "DB_DATABASE": str(folder / "database.sqlite")})
        self.project.configure(session_timeout=45)  # the outage costs no membership
        self.project.artisan("migrate", "--force")
        for start in OLD[::10]:
            self.publish(range(start, start + 10))

    def publish(self, numbers: range) -> None:
        """Acknowledged when this returns."""
        self.kafka.jobs(self.topic, *({"n": n} for n in numbers))

    def run(self, numbers: range) -> None:
        """Until all of them have run."""
        wait_for(lambda: set(numbers) <= set(self.project.numbers("end")), seconds=60, what=f"jobs {numbers}")

    def committed(self, offset: int) -> None:
        """Until the group has committed this offset."""
        wait_for(lambda: self.kafka.committed(self.topic, self.topic) == {0: offset}, what=f"the commit of {offset}")

    def cut_off(self, topic: str = "") -> int:
        """Kill the broker, cut its log in half, start it again; where the log ends now."""
        self.node("kill", "1")
        for log in self.home.glob(f"data1/{topic or self.topic}-0/*.log"):
            os.truncate(log, log.stat().st_size // 2)
        self.node("start", "1")
        return self.kafka.ends(topic or self.topic)[0]


@pytest.fixture
def cut(tmp_path: Path, home: Path, node: Node) -> Iterator[Cut]:
    """A project, a topic and its broker."""
    cut = Cut(tmp_path / "project", home, node)
    yield cut
    cut.project.close()


def test_what_is_written_to_a_log_that_lost_its_end_runs(cut: Cut) -> None:
    """Invariant: each new job runs, those that had run do not run again, and an operator can read what happened."""
    worker = cut.project.worker()
    cut.run(OLD)
    cut.committed(len(OLD))

    end = cut.cut_off()
    cut.publish(NEW)
    cut.run(NEW)
    cut.publish(MORE)
    cut.run(MORE)

    cut.committed(end + len(NEW) + len(MORE))
    assert len(cut.project.numbers("end")) == len(OLD) + len(NEW) + len(MORE)
    assert f"cut_off_at={end}" in cut.project.log()
    assert stop(worker) == 0


def test_a_log_that_is_longer_again_before_the_worker_looks_is_noticed(cut: Cut) -> None:
    """Invariant: each new job runs, though the log's end lies beyond what the worker had read."""
    worker = cut.project.worker()
    cut.run(OLD)
    cut.committed(len(OLD))

    worker.send_signal(signal.SIGSTOP)
    cut.cut_off()
    cut.publish(NEW)
    cut.publish(MORE)
    worker.send_signal(signal.SIGCONT)

    cut.run(NEW)
    cut.run(MORE)
    assert "a log has become shorter" in cut.project.log()
    assert stop(worker) == 0


def test_a_worker_that_comes_later_notices_it_by_the_leader_epoch_of_the_commit(cut: Cut) -> None:
    """Invariant: each new job runs, though the committed offset lies in the middle of them."""
    worker = cut.project.worker()
    cut.run(OLD)
    stop(worker)
    cut.committed(len(OLD))

    cut.cut_off()
    cut.publish(NEW)
    cut.publish(MORE)
    later = cut.project.worker()

    cut.run(NEW)
    cut.run(MORE)
    assert stop(later) == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_what_had_run_of_a_log_to_which_nothing_is_written_does_not_run_again(cut: Cut, is_there: bool) -> None:
    """Invariant: a worker that comes later, or joins anew, goes on at the end that is left."""
    worker = cut.project.worker()
    cut.run(OLD)
    cut.committed(len(OLD))
    if not is_there:
        stop(worker)

    end = cut.cut_off()
    if not is_there:
        worker = cut.project.worker()
    cut.committed(end)
    cut.publish(NEW)
    cut.run(NEW)

    assert stop(worker) == 0
    assert len(cut.project.numbers("end")) == len(OLD) + len(NEW)
    assert f"cut_off_at={end}" in cut.project.log()


DISPATCH = """
from bootstrap.app import create_app
create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch
for n in range({first}, {last}):
    dispatch(Probe(n=n), delay=16)
"""


@pytest.mark.parametrize("count", [2, 30])  # the log stays shorter than it was, or is longer again
@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_delayed_in_a_topic_that_lost_its_end_runs_once(cut: Cut, is_there: bool, count: int) -> None:
    """Invariant: each job that was delayed after the loss runs, no other again, be a mover there meanwhile or not."""
    cut.project.configure(partitions=1)
    cut.project.artisan("kafka:topics", "--create", check=False)
    topic = f"{cut.topic}.delay.15"
    worker = cut.project.worker("-q")
    cut.run(OLD)
    for start in (100, 110):
        cut.project.python(DISPATCH.format(first=start, last=start + 10))
    cut.run(range(100, 120))
    if not is_there:
        stop(worker)

    end = cut.cut_off(topic)
    cut.project.python(DISPATCH.format(first=200, last=200 + count))

    assert end < 18
    if not is_there:
        worker = cut.project.worker("-q")
    cut.run(range(200, 200 + count))
    assert stop(worker) == 0
    assert len(cut.project.numbers("end")) == len(OLD) + 20 + count


def test_whoever_asks_for_the_lag_of_a_log_that_lost_its_end_is_told(cut: Cut) -> None:
    """Invariant: neither `kafka:lag` nor `queue:monitor` says that nothing is left."""
    worker = cut.project.worker()
    cut.run(OLD)
    cut.committed(len(OLD))
    stop(worker)

    end = cut.cut_off()
    told = json.loads(cut.project.artisan("kafka:lag", "--json").stdout)
    shown = cut.project.artisan("kafka:lag").stdout
    [monitored] = json.loads(cut.project.artisan("queue:monitor", f"kafka:{cut.topic}", "--json").stdout)

    [one] = told["partitions"]
    assert (one["committed"], one["end"], one["lag"], one["shorter_than"]) == (len(OLD), end, end, len(OLD))
    assert f"ends at {end}, and the group had finished something up to {len(OLD)}" in " ".join(shown.split())
    assert (monitored["size"], len(monitored["notes"])) == (end, 1)


def letter(number: int) -> Failure:
    """What is told of a job that has failed."""
    return Failure(
        connection="kafka",
        queue="store",
        payload=json.dumps({"job": "probe", "data": {"n": number}}).encode(),
        error=RuntimeError("boom"),
        uuid=f"u-{number}",
        key=b"k",
        headers=[],
        origin=f"store[0]@{number}",
        timestamp_ms=5,
    )


@pytest.fixture
def letters(cut: Cut) -> DeadLetters:
    """A dead-letter topic with a letter of each old job, as a process that has read it keeps it."""
    letters = process_of(cut, cut.kafka.topic("letters", partitions=1))
    for number in OLD:
        letters.record(letter(number))
    assert listed(letters) == ids(OLD)
    return letters


def process_of(cut: Cut, topic: str) -> DeadLetters:
    """What one process has of a dead-letter topic."""
    settings = KafkaSettings(brokers=cut.kafka.address, dead_letter_topic=topic)
    return DeadLetters("kafka", settings, address=lambda: None, partitioner=any_partition)


def listed(letters: DeadLetters) -> set[str]:
    """The ids that are listed."""
    return {record.id for record in letters.records()}


def ids(*ranges: range) -> set[str]:
    """Those of the jobs with these numbers."""
    return {f"u-{number}" for numbers in ranges for number in numbers}


def test_dead_letters_of_a_topic_that_lost_its_end_are_those_that_are_there(
    cut: Cut, letters: DeadLetters, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant: a process that has read the topic before lists each letter that is there, and no other."""
    end = cut.cut_off(letters.topic)
    at_once = listed(letters)
    another = process_of(cut, letters.topic)
    for number in NEW:
        another.record(letter(number))

    assert at_once == ids(OLD[:end])
    assert listed(letters) == ids(OLD[:end], NEW)
    [warning] = [record for record in caplog.records if "shorter" in record.getMessage()]
    assert (vars(warning)["read_to"], vars(warning)["cut_off_at"]) == (len(OLD), end)


def test_dead_letters_that_were_written_over_lost_ones_before_anybody_looked_are_listed(
    cut: Cut, letters: DeadLetters, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant: no letter is passed over, though the topic is longer than it was read."""
    end = cut.cut_off(letters.topic)
    another = process_of(cut, letters.topic)
    for number in MORE:
        another.record(letter(number))

    assert listed(letters) == ids(OLD[:end], MORE)
    assert any("shorter" in record.getMessage() for record in caplog.records)
