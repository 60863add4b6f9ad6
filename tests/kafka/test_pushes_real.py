"""What jobs push, and how they wait for it, on a real Kafka."""

import pytest

from lamplighter.contracts import Message
from lamplighter.errors import MessageTooLarge
from lamplighter.kafka.producing.producer import KafkaProducer
from tests.harness import Broker, Project

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

EMPTY = ("--stop-when-empty", "--sleep=1")
POOLS = [(), ("--pool=thread", "-c2"), ("--pool=async", "-c2"), ("--pool=process", "-c2")]
JOBS = '''
from lamplighter.foundation.shortcuts import dispatch


@dataclass(frozen=True)
class Large(Job):
    """Is as large as somebody likes."""

    name = "large"

    text: str = ""

    def handle(self) -> None:
        """Nobody works its topic."""


@dataclass(frozen=True)
class Pushes(Job):
    """Pushes what its topic refuses, or takes, and comes to its end."""

    name = "pushes"

    n: int = 0
    size: int = 10

    def handle(self) -> None:
        for _ in range(3):
            dispatch(Large(text="x" * self.size), queue=os.environ["OTHER_TOPIC"])
        note("end", n=self.n)


@dataclass(frozen=True)
class Forks(Job):
    """Has a child push, which ends at once."""

    name = "forks"

    n: int = 0

    def handle(self) -> None:
        dispatch(Large(text="parent"), queue=os.environ["OTHER_TOPIC"])
        child = os.fork()
        if child == 0:
            dispatch(Large(text="child"), queue=os.environ["OTHER_TOPIC"])
            os._exit(0)
        os.waitpid(child, 0)
'''


@pytest.fixture
def other(kafka: Broker) -> str:
    """A topic that takes no more than two thousand bytes."""
    return kafka.topic("small", partitions=2, **{"max.message.bytes": "2000"})


@pytest.fixture
def project(project: Project, other: str) -> Project:
    """One that knows these jobs, and where they push to."""
    with (project.folder / "app/Jobs/probe.py").open("a") as file:
        file.write(JOBS)
    project.environment["OTHER_TOPIC"] = other
    return project


@pytest.mark.parametrize("pool", POOLS)
def test_a_push_that_is_refused_is_met_behind_the_job_that_made_it(
    project: Project, kafka: Broker, topic: str, other: str, pool: tuple[str, ...]
) -> None:
    kafka.jobs(topic, {"n": 1, "size": 3000}, {"n": 2}, name="pushes")

    status = project.worker(*pool, *EMPTY).wait(60)

    assert status == 0, project.log()
    assert sorted(project.numbers("end")) == [1, 2]
    assert "MessageTooLarge" in project.artisan("queue:failed", "-v").stdout
    assert len(kafka.read(other)) == 3
    assert kafka.committed(topic, topic) == kafka.ends(topic)


@pytest.mark.parametrize("pool", [POOLS[0], POOLS[-1]])
def test_what_a_forked_child_pushes_is_there_when_it_goes_on(
    project: Project, kafka: Broker, topic: str, other: str, pool: tuple[str, ...]
) -> None:
    kafka.jobs(topic, {"n": 1}, name="forks")

    status = project.worker(*pool, *EMPTY).wait(60)

    assert status == 0, project.log()
    assert sorted(body["data"]["text"] for _, body in kafka.read(other)) == ["child", "parent"]


@pytest.mark.parametrize("is_bulk", [True, False])
def test_messages_are_not_too_large_together(kafka: Broker, other: str, is_bulk: bool) -> None:
    producer = KafkaProducer({"bootstrap.servers": kafka.address, "enable.idempotence": True}, timeout=10)
    small = [(Message(b'"%d"' % n, None, [("pad", b"x" * 100)]), n % 2) for n in range(200)]
    large = Message(b'"%s"' % (b"y" * 3000), None, ())

    first = producer.send(other, small, bulk=is_bulk)
    second = producer.send(other, small, bulk=is_bulk)
    with pytest.raises(MessageTooLarge, match="which is 2,000 bytes"):
        producer.send(other, [*small, (large, 0)], bulk=is_bulk)

    assert (first, second, producer.close(timeout=10)) == (200, 200, True)
    assert len(kafka.read(other)) == 600


def test_a_close_waits_for_what_is_sent_once_more(kafka: Broker, other: str) -> None:
    producer = KafkaProducer({"bootstrap.servers": kafka.address, "enable.idempotence": True}, timeout=10)
    told: list[object] = []
    producer.send(other, [(Message(b"0", None, ()), 0)], bulk=False)
    for n in range(100):
        message = Message(b'"%d"' % n, None, [("pad", b"x" * 100)])
        producer.send_soon(other, message, 0, lambda error, _: told.append(error))

    is_all = producer.close(timeout=10)

    assert (is_all, producer.ahead, told) == (True, 0, [None] * 100)
    assert len(kafka.read(other)) == 101
