"""The embedded broker: a process of its own, shared, and ended after its last user."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from lamplighter.errors import BrokerUnavailable, ConfigError
from lamplighter.kafka.embedded import broker as broker_module
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.cluster import MockCluster, bundled_library
from lamplighter.kafka.embedded.folder import BrokerFolder
from lamplighter.kafka.embedded.lock import is_held, try_open
from lamplighter.kafka.embedded.topics import TopicReaders
from tests.harness import Broker, Project, end_broker, lives, stop, wait_for

USER = """
import sys, time
from pathlib import Path
from lamplighter.kafka.embedded.broker import EmbeddedBroker

broker = EmbeddedBroker(Path(sys.argv[1]), environment="testing", linger=float(sys.argv[2]))
print(broker.address(), flush=True)
if len(sys.argv) > 3:
    time.sleep(float(sys.argv[3]))
"""


def user(folder: Path, *, linger: float = 60, stay: float = 0) -> subprocess.Popen[str]:
    """A process that uses the broker of a folder."""
    command = [sys.executable, "-c", USER, str(folder), str(linger), str(stay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def project(tmp_path: Path, framework: Path) -> Iterator[Project]:
    """A project on the embedded broker."""
    database = str(tmp_path / "database.sqlite")
    project = Project(tmp_path, environment={"KAFKA_BROKERS": "embedded", "DB_DATABASE": database})
    yield project
    project.close()


@pytest.fixture
def watchful(framework: Path) -> Iterator[EmbeddedBroker]:
    """A broker that looks ten times a second."""
    broker = EmbeddedBroker(framework, environment="testing", linger=0.2)
    yield broker
    broker.detach()


def test_the_first_who_needs_it_starts_it_and_the_second_finds_it(framework: Path, broker: EmbeddedBroker) -> None:
    second = EmbeddedBroker(framework, environment="testing")

    addresses = [broker.address(), second.address()]

    assert addresses[0] == addresses[1]
    assert [broker.has_started, second.has_started] == [True, False]
    second.detach()


def test_who_come_at_the_same_time_share_one(framework: Path) -> None:
    users = [user(framework) for _ in range(5)]

    # Their ends of the pipes are closed by their own end: the broker, which goes on, holds none of them.
    found = [process.communicate(timeout=30)[0].strip() for process in users]

    running = BrokerFolder(framework).running()
    assert running is not None
    assert found == [running.address] * 5


SHORT_USER = """
import os, signal, sys
from pathlib import Path
from confluent_kafka import Producer
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.topics import TopicReaders

broker = EmbeddedBroker(Path(sys.argv[1]), environment="testing", linger=1)
address = broker.address(TopicReaders(groups={"store": ["workers"]}))
producer = Producer({"bootstrap.servers": address})
producer.produce("store", b"job")
assert producer.flush(10) == 0
print(address, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def use_shortly(folder: Path) -> str:
    """Push one record, be told that it is there, and be killed at once; where the broker was."""
    command = [sys.executable, "-c", SHORT_USER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


def test_what_was_acknowledged_is_there_however_short_its_sender_lived(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) / "framework" for number in range(4)]

    def attempt(number: int) -> list[str]:
        addresses = [use_shortly(folders[number])]
        # It looks every half second, and would end after one: the second user comes around its last look.
        time.sleep(0.3 + 0.2 * number)
        return [*addresses, use_shortly(folders[number])]

    with ThreadPoolExecutor(len(folders)) as pool:
        addresses = list(pool.map(attempt, range(len(folders))))
    for folder in folders:
        log = folder / "embedded-broker.log"
        wait_for(lambda log=log: "It stays, with 2 records that nobody has read (store 2)" in log.read_text())  # type: ignore[misc]
    found = [Broker(address).ends("store") for _, address in addresses]
    for folder in folders:
        end_broker(folder)

    assert all(first == second for first, second in addresses)
    assert [sum(ends.values()) for ends in found] == [2] * len(folders)


def test_it_ends_when_what_it_held_was_read(framework: Path) -> None:
    address = use_shortly(framework)
    running = BrokerFolder(framework).running()
    assert running is not None
    log = framework / "embedded-broker.log"
    wait_for(lambda: "It stays, with 1 record" in log.read_text(), what="its word")

    consumer = Consumer({"bootstrap.servers": address, "group.id": "workers", "log_level": 0})
    places = [TopicPartition("store", number, end) for number, end in Broker(address).ends("store").items()]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()

    wait_for(lambda: not lives(running.pid), what="the broker's end")
    assert "Ended: nobody has used it for 1 s, with nothing unread." in log.read_text()
    assert BrokerFolder(framework).lost() is None


FORKED_USER = """
import os, sys, time
from pathlib import Path
from lamplighter.kafka.embedded.broker import EmbeddedBroker

broker = EmbeddedBroker(Path(sys.argv[1]), environment="testing")
broker.address()
if os.fork():
    os._exit(0)
os.closerange(3, 256)  # as a daemon does
others = [open(os.devnull) for _ in range(3)]  # with the number of the parent's lease
broker.address()
broker.address()
del broker
for other in others:
    os.fstat(other.fileno())
broker = EmbeddedBroker(Path(sys.argv[1]), environment="testing")
broker.address()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_forked_child_is_a_user_of_its_own(framework: Path, broker: EmbeddedBroker) -> None:
    broker.address()
    command = [sys.executable, "-c", FORKED_USER, str(framework)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.wait(10)

        held = [path.name for path in (framework / "embedded-users").glob("*.lock") if is_held(path)]
        os.kill(child, signal.SIGKILL)

    assert sorted(name.split("-")[0] for name in held) == sorted([str(os.getpid()), str(child)])
    wait_for(lambda: not list((framework / "embedded-users").glob(f"{child}-*")), what="the end of its lease")


def test_it_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(broker: EmbeddedBroker) -> None:
    broker.address()

    running = broker.running()

    assert running is not None
    assert os.getsid(running.pid) != os.getsid(0)
    assert psutil.Process(running.pid).terminal() is None


def test_it_ends_after_its_last_user_even_one_killed_with_9(framework: Path) -> None:
    process = user(framework, linger=0.5, stay=60)
    with process:
        wait_for(lambda: BrokerFolder(framework).running(), what="the broker")
        running = BrokerFolder(framework).running()
        assert running is not None

        process.kill()

    wait_for(lambda: not lives(running.pid), what="the broker's end")
    assert list(framework.glob("*.json")) == []
    assert list((framework / "embedded-users").iterdir()) == []
    assert "nobody has used it for 0.5 s" in (framework / "embedded-broker.log").read_text()


def test_killed_with_9_it_is_started_anew_and_the_loss_is_told(
    framework: Path, broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.address()
    first = broker.running()
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    # Its first thread may be gone before the last one, and with that its lock.
    wait_for(lambda: broker.running() is None, what="the broker's end")
    second = EmbeddedBroker(framework, environment="testing")

    with caplog.at_level(logging.WARNING):
        second.address()

    assert second.has_started
    assert second.running() != first
    assert "was gone, and its messages with it" in caplog.text
    second.detach()


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGKILL, "was gone, and its messages"), (signal.SIGTERM, "has ended, and its messages")],
)
def test_the_next_one_tells_what_was_lost_in_numbers(
    framework: Path, watchful: EmbeddedBroker, caplog: pytest.LogCaptureFixture, number: int, told: str
) -> None:
    address = watchful.address(TopicReaders(groups={"store": ["workers"]}))
    Broker(address).publish("store", [(b"key", b"x")] * 3)
    wait_for(lambda: watchful.folder.unread(), what="its count")
    running = watchful.running()
    assert running is not None
    os.kill(running.pid, number)
    wait_for(lambda: not lives(running.pid) and watchful.running() is None, what="the broker's end")

    with caplog.at_level(logging.WARNING):
        watchful.address()

    [record] = [record for record in caplog.records if told in record.message]
    assert record.__dict__["unread"] == "3 records that nobody has read (store 3)"
    assert watchful.folder.unread() == {}


def test_the_place_of_one_that_lives_is_never_taken(
    framework: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "START_TIMEOUT", 0.2)
    other = BrokerFolder(framework)
    assert other.begin("127.0.0.1:1")

    with pytest.raises(BrokerUnavailable, match=rf"lives as process {os.getpid()}, and does not answer at 127.0.0.1:1"):
        broker.address()
    late = BrokerFolder(framework).begin("127.0.0.1:2")

    assert not late
    assert other.is_published()
    other.withdraw()


def test_a_folder_that_can_not_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BrokerUnavailable, match="can't be used in"):
        EmbeddedBroker(tmp_path / "file/framework", environment="testing").address()


def test_who_starts_it_says_what_it_does_not_keep(broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        broker.address()

    assert "it keeps nothing" in caplog.text
    assert "it keeps nothing" not in broker.folder.log.read_text()
    assert "keeps nothing when it ends" in broker.folder.log.read_text()


@pytest.mark.parametrize(
    "told",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"pid": null, "started": null, "address": null}',
        '{"pid": 999999999, "started": 1.0, "address": "127.0.0.1:9"}',
    ],
)
def test_a_file_that_tells_of_no_living_broker_is_not_believed(tmp_path: Path, told: str) -> None:
    (tmp_path / "embedded-broker.json").write_text(told)

    assert BrokerFolder(tmp_path).running() is None


def test_another_process_with_its_number_is_not_taken_for_it(tmp_path: Path) -> None:
    fields = {"pid": os.getpid(), "address": "127.0.0.1:9"}
    (tmp_path / "embedded-broker.json").write_text(json.dumps(fields))

    assert BrokerFolder(tmp_path).running() is None


def test_a_broker_that_nobody_can_find_any_more_ends(framework: Path, watchful: EmbeddedBroker) -> None:
    watchful.address()
    running = watchful.running()
    assert running is not None

    shutil.rmtree(framework.parent)

    wait_for(lambda: not lives(running.pid), what="the broker's end")


def test_a_broker_whose_file_was_deleted_is_found_again(framework: Path, watchful: EmbeddedBroker) -> None:
    watchful.address()
    running = watchful.running()

    (framework / "embedded-broker.json").unlink()
    wait_for(lambda: watchful.running() is not None, what="its file")

    assert watchful.running() == running


def spoil_nothing(file: Path) -> None:
    """The file is gone."""


def spoil_with_a_stale_one(file: Path) -> None:
    """A file of a broker that is long gone."""
    file.write_text('{"pid": 4242, "address": "127.0.0.1:1"}')


@pytest.mark.parametrize("spoil", [spoil_nothing, spoil_with_a_stale_one, os.mkfifo])
def test_who_finds_no_file_of_one_that_lives_waits_for_it(
    framework: Path, watchful: EmbeddedBroker, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    address = watchful.address()
    file = framework / "embedded-broker.json"
    other = EmbeddedBroker(framework, environment="testing")
    file.unlink()
    spoil(file)
    caplog.clear()

    found = other.address()

    assert (found, other.has_started, caplog.text) == (address, False, "")
    other.detach()


def test_who_finds_no_folder_of_one_that_lives_waits_for_it(framework: Path, watchful: EmbeddedBroker) -> None:
    address = watchful.address(TopicReaders(groups={"store": ["workers"]}))
    Broker(address).publish("store", [(b"key", b"x")])
    shutil.rmtree(framework)

    other = EmbeddedBroker(framework, environment="testing")
    found = other.address()

    assert (found, other.has_started) == (address, False)
    other.detach()


def test_one_that_lives_and_can_not_write_its_file_is_not_replaced(
    framework: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.address()
    running = broker.running()
    assert running is not None
    os.kill(running.pid, signal.SIGSTOP)
    (framework / "embedded-broker.json").unlink()
    monkeypatch.setattr(broker_module, "START_TIMEOUT", 0.2)

    with pytest.raises(BrokerUnavailable, match=r"lives, and has not written its file .* anew; its log is"):
        broker.address()

    os.kill(running.pid, signal.SIGCONT)
    wait_for(broker.running, what="its file")
    assert broker.running() == running


def test_where_all_its_files_are_deleted_the_folder_tells_that_it_lives(
    framework: Path, broker: EmbeddedBroker
) -> None:
    broker.address()

    shutil.rmtree(framework)

    assert BrokerFolder(framework).running() is None
    assert BrokerFolder(framework).lives()
    wait_for(broker.running, what="its file")


def test_it_goes_where_storage_is_moved(framework: Path, watchful: EmbeddedBroker) -> None:
    address = watchful.address()
    storage = framework.parent
    moved = storage.with_name("moved")
    storage.rename(moved)
    (moved / "framework/embedded-broker.json").unlink()

    wait_for(lambda: BrokerFolder(moved / "framework").running() is not None, what="its file")
    running = BrokerFolder(moved / "framework").running()
    moved.rename(storage)

    assert running is not None
    assert running.address == address
    assert watchful.address() == address


def test_a_child_that_was_forked_does_not_keep_the_word_that_one_lives(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path / "framework")
    folder.path.mkdir()
    assert folder.begin("127.0.0.1:1")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    os.close(read)

    folder.withdraw()
    lives = folder.lives()
    os.close(write)
    os.waitpid(child, 0)

    assert not lives


@pytest.mark.parametrize("can_lock_folders", [True, False])
def test_only_one_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_lock_folders: bool) -> None:
    if not can_lock_folders:  # as on NFS
        monkeypatch.setattr("lamplighter.kafka.embedded.life.try_open", refuse_folders)
    first, second = BrokerFolder(tmp_path / "framework"), BrokerFolder(tmp_path / "framework")
    first.path.mkdir()
    begun = [first.begin("127.0.0.1:1")]
    (first.path / "embedded-broker.json").unlink()

    begun += [second.begin("127.0.0.1:2")]
    lives = second.lives()
    first.withdraw()

    assert (begun, lives, second.lives()) == ([True, False], True, False)
    assert second.begin("127.0.0.1:2")
    second.withdraw()


def refuse_folders(path: Path, flags: int) -> int | None:
    """Lock a file, and no folder."""
    if flags & os.O_DIRECTORY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    return try_open(path, flags)


def test_the_end_of_one_leaves_the_word_of_its_successor(tmp_path: Path) -> None:
    file = tmp_path / "embedded-broker.json"
    file.write_text('{"pid": 1, "started": 1.0, "address": "127.0.0.1:9"}')

    BrokerFolder(tmp_path).withdraw()

    assert file.exists()


def test_a_lease_counts_until_it_is_closed_and_once_more(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path)
    before = folder.take_leases()
    lease = folder.lease()
    during = [folder.take_leases(), folder.take_leases()]

    os.close(lease)
    after = [folder.take_leases(), folder.take_leases()]

    assert (before, during, after) == (False, [True, True], [True, False])


@pytest.mark.parametrize("name", ["production", "Production", "prod"])
def test_it_refuses_production_and_says_what_to_set(framework: Path, name: str) -> None:
    broker = EmbeddedBroker(framework, environment=name)

    with pytest.raises(ConfigError, match="KAFKA_BROKERS"):
        broker.address()

    assert list(framework.iterdir()) == []


def test_one_that_does_not_come_up_names_its_log_at_once(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    began = time.monotonic()

    with pytest.raises(BrokerUnavailable, match=r"embedded-broker\.log"):
        broker.address()

    assert time.monotonic() - began < 5


def test_one_whose_starting_hangs_is_not_waited_for(
    framework: Path, broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "START_TIMEOUT", 0.2)

    with (
        BrokerFolder(framework).alone(wait=1),
        pytest.raises(BrokerUnavailable, match="Another process has held the lock"),
    ):
        broker.address()


def test_the_first_member_of_a_group_does_not_wait_three_seconds(broker: EmbeddedBroker) -> None:
    address = broker.address()
    producer = Producer({"bootstrap.servers": address})
    producer.produce("store", b"job")
    assert producer.flush(10) == 0
    settings = {"group.id": "workers", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10, "log_level": 0}
    consumer = Consumer({"bootstrap.servers": address, **settings})

    began = time.monotonic()
    consumer.subscribe(["store"])
    wait_for(lambda: consumer.poll(0.1))

    assert time.monotonic() - began < 2
    consumer.close()


@pytest.mark.parametrize("library", [None, bundled_library()], ids=["by property", "by librdkafka's own interface"])
def test_a_mock_cluster_is_made_either_way(library: Path | None) -> None:
    cluster = MockCluster(library)

    with Broker(cluster.address)._consumer("any") as consumer:
        assert len(consumer.list_topics(timeout=10).brokers) == 1


def test_two_workers_share_it_and_run_every_job_once(project: Project, framework: Path) -> None:
    project.artisan("migrate", "--force")
    first = project.worker(log="first.log")
    wait_for(lambda: BrokerFolder(framework).running(), what="the broker")
    running = BrokerFolder(framework).running()
    assert running is not None
    second = project.worker(log="second.log")
    # Both have their share: while partitions move, a job in hand may run twice.
    wait_for(lambda: 'partitions="store[' in project.log("second.log"), what="the second worker's share")

    Broker(running.address).jobs("store", *({"n": n, "sleep": 0.01} for n in range(200)))
    wait_for(lambda: len(project.events("end")) >= 200, what="the jobs' end")
    statuses = [stop(first), stop(second)]

    assert sorted(project.numbers("end")) == list(range(200))
    assert len({line["pid"] for line in project.events("end")}) == 2
    assert statuses == [0, 0]


def test_kafka_serve_runs_it_in_the_foreground(project: Project, framework: Path) -> None:
    log = framework / "serve.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "artisan.py", "kafka:serve"],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        wait_for(lambda: BrokerFolder(framework).running(), what="the broker")

        again = project.artisan("kafka:serve", check=False)
        topics = project.artisan("kafka:topics")
        status = stop(process, signal.SIGINT)
    finally:
        process.kill()

    assert (again.returncode, status) == (1, 0)
    assert "runs already" in again.stdout + again.stderr
    assert "with nothing unread" in again.stdout + again.stderr
    assert "store" in topics.stdout
    assert "keeps nothing" in log.read_text()
    assert BrokerFolder(framework).running() is None


WAITING = """
from bootstrap.app import create_app

create_app().bootstrap()
from app.Jobs.probe import Probe
from lamplighter.foundation.shortcuts import dispatch

dispatch(Probe(n=1))
dispatch(Probe(n=2), delay=30)
"""


def test_kafka_serve_tells_what_keeps_the_one_that_runs(project: Project, framework: Path) -> None:
    done = project.python(WAITING)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: len(BrokerFolder(framework).unread()) == 2, what="the broker's count")

    again = project.artisan("kafka:serve", check=False)

    text = " ".join((again.stdout + again.stderr).split())
    assert "with 2 records that nobody has read (dos_data_store.delay.15 1, store 1)" in text
    assert "ends it" in text


def test_jobs_that_have_run_do_not_keep_it(project: Project, framework: Path) -> None:
    project.artisan("migrate", "--force")
    done = project.python(WAITING.replace("delay=30", "delay=1"))
    assert done.returncode == 0, done.stderr

    worker = project.worker("-q")
    wait_for(lambda: len(project.numbers("end")) == 2, what="the jobs' ends")
    status = stop(worker)

    assert status == 0
    wait_for(lambda: BrokerFolder(framework).unread() == {}, what="the broker's count")


def test_kafka_serve_ends_in_order_with_its_terminal(project: Project, framework: Path) -> None:
    with (framework / "serve.log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "artisan.py", "kafka:serve"],
            cwd=project.folder,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        wait_for(lambda: BrokerFolder(framework).running(), what="the broker")
        status = stop(process, signal.SIGHUP)
    finally:
        process.kill()

    assert status == 0
    assert BrokerFolder(framework).lost() is None


def test_kafka_serve_refuses_production(project: Project) -> None:
    project.environment.update(APP_ENV="production", KAFKA_BROKERS="localhost:1")

    done = project.artisan("kafka:serve", check=False, timeout=20)

    assert done.returncode == 1
    assert "refuses the environment production (APP_ENV). Set KAFKA_BROKERS" in done.stdout + done.stderr
    assert "KAFKA_BROKERS is" not in done.stdout + done.stderr
