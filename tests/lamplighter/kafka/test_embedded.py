"""The embedded broker: a process of its own, shared, and ended after its last user."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer

from lamplighter.errors import BrokerUnavailable, ConfigError
from lamplighter.kafka.embedded import broker as broker_module
from lamplighter.kafka.embedded.broker import EmbeddedBroker
from lamplighter.kafka.embedded.cluster import MockCluster, bundled_library
from lamplighter.kafka.embedded.folder import BrokerFolder, Running, started
from lamplighter.kafka.embedded.serve import watch
from tests.harness import Broker, Project, stop, wait_for

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

    wait_for(lambda: started(running.pid) is None, what="the broker's end")
    assert list(framework.glob("*.json")) == []
    assert list((framework / "embedded-users").iterdir()) == []
    assert "nobody has used it for 0.5 s" in (framework / "embedded-broker.log").read_text()


def test_it_stays_as_long_as_there_is_a_user(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path)
    folder.publish("127.0.0.1:1")
    lease = folder.lease()
    reasons: list[str] = []
    thread = threading.Thread(
        target=lambda: reasons.append(watch(folder, linger=0.1, ended=threading.Event())), daemon=True
    )
    thread.start()

    thread.join(1)
    alive_while_used = thread.is_alive()
    os.close(lease)
    thread.join(10)

    assert alive_while_used
    assert reasons == ["nobody has used it for 0.1 s"]


def test_killed_with_9_it_is_started_anew_and_the_loss_is_told(
    framework: Path, broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.address()
    first = broker.running()
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: started(first.pid) is None)
    second = EmbeddedBroker(framework, environment="testing")

    with caplog.at_level(logging.WARNING):
        second.address()

    assert second.has_started
    assert second.running() != first
    assert "was gone, and its messages with it" in caplog.text
    second.detach()


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


def test_another_process_with_its_number_is_not_taken_for_it(framework: Path, broker: EmbeddedBroker) -> None:
    address = broker.address()
    file = framework / "embedded-broker.json"
    fields = json.loads(file.read_text())

    file.write_text(json.dumps({**fields, "pid": os.getpid()}))
    impostor = broker.running()
    file.write_text(json.dumps(fields))

    assert impostor is None
    assert broker.running() == Running(fields["pid"], address)


def test_a_broker_that_nobody_can_find_any_more_ends(framework: Path, broker: EmbeddedBroker) -> None:
    broker.address()
    running = broker.running()
    assert running is not None

    (framework / "embedded-broker.json").unlink()

    wait_for(lambda: started(running.pid) is None, what="the broker's end")


def test_the_end_of_one_leaves_the_word_of_its_successor(tmp_path: Path) -> None:
    file = tmp_path / "embedded-broker.json"
    file.write_text('{"pid": 1, "started": 1.0, "address": "127.0.0.1:9"}')

    BrokerFolder(tmp_path).withdraw()

    assert file.exists()


def test_a_lease_counts_until_it_is_closed(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path)
    before = folder.has_users()
    lease = folder.lease()
    during = folder.has_users()

    os.close(lease)

    assert (before, during, folder.has_users()) == (False, True, False)


def test_a_process_that_is_gone_has_no_start() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    zombie = started(process.pid)
    process.wait()

    assert (zombie, started(process.pid)) == (None, None)
    assert started(os.getpid()) is not None


def test_it_refuses_production_and_says_what_to_set(framework: Path) -> None:
    broker = EmbeddedBroker(framework, environment="production")

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
        pytest.raises(BrokerUnavailable, match="Another process has been starting"),
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
    assert "store" in topics.stdout
    assert "keeps nothing" in log.read_text()
    assert BrokerFolder(framework).running() is None


def test_kafka_serve_refuses_production(project: Project) -> None:
    project.environment.update(APP_ENV="production", KAFKA_BROKERS="localhost:1")

    done = project.artisan("kafka:serve", check=False, timeout=20)

    assert done.returncode == 1
    assert "refuses the environment production (APP_ENV). Set KAFKA_BROKERS" in done.stdout + done.stderr
    assert "KAFKA_BROKERS is" not in done.stdout + done.stderr
