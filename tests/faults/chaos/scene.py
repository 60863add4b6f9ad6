"""One round while it runs: its folder, topics, dispatchers, and the ledger in which all of them write."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from tests.faults.chaos.clusters import Cluster
from tests.faults.chaos.databases import Database, Postgres, Sqlite
from tests.faults.chaos.history import History, read_ledger
from tests.faults.chaos.plan import Round
from tests.faults.noting import write
from tests.harness import Project

APPLICATION = Path(__file__).parent / "application"
NOTING = '"app.Providers.noting_provider:NotingProvider"'
SABOTAGE = '"app.Providers.sabotage_provider:SabotageProvider"'
LAST_PROVIDER = '"lamplighter.kafka.provider:KafkaServiceProvider",'
PREPARE = (("migrate", "--force"), ("kafka:topics", "--create"))
CLAIM_ABOVE = 200_000  # bytes of a payload that is put aside
SESSION = 3  # seconds after which the partitions of a killed worker move
SHUTDOWN = 10  # seconds for committing and leaving
BACK = 45  # seconds until brokers that were harmed answer again


class Scene:
    """What disturbances act upon, and promises are checked with."""

    def __init__(self, folder: Path, round: Round, cluster: Cluster, *, sabotage: str = "") -> None:
        """Makes the project and its topics; `sabotage` names what is broken in it on purpose."""
        setting = round.setting
        self.round = round
        self.cluster = cluster
        self.broker = cluster.broker
        self.claims = folder / "claims"
        url = os.environ.get("POSTGRES_TEST_URL")
        self.database: Database = Postgres(url, round.seed) if url and setting.database == "pgsql" else Sqlite(folder)
        self.topics = [
            self.broker.topic(
                f"chaos-{round.seed}",
                partitions=setting.partitions,
                # The brokers' time is what delays are promised by.
                **{"message.timestamp.type": "LogAppendTime"},
            )
            for _ in setting.topics
        ]
        self.group = self.topics[0]
        self.letters = f"{self.group}.letters"
        self.project = Project(folder, environment=self._environment(sabotage), jobs=APPLICATION)
        self._configure([NOTING, SABOTAGE] if sabotage else [NOTING])
        with ThreadPoolExecutor() as executor:
            done = [executor.submit(self.project.artisan, *words) for words in PREPARE]
        for one in done:
            one.result()
        self.database.prepare()
        self.began = time.time()
        self.harming = threading.Lock()  # one broker at a time: what is promised holds where a majority is there
        self.cutting = threading.Lock()
        self._dispatcher: subprocess.Popen[bytes] | None = None
        self._dispatching = threading.Lock()

    def _environment(self, sabotage: str) -> dict[str, str]:
        setting = self.round.setting
        return {
            "KAFKA_BROKERS": self.broker.address,
            "KAFKA_QUEUE": self.topics[0],
            "KAFKA_API_QUEUE": self.topics[-1],
            "KAFKA_CONSUMER_GROUP_ID": self.group,
            "KAFKA_GROUP_PROTOCOL": setting.protocol,
            "KAFKA_DELAY_STORE": setting.delay_store,
            "KAFKA_DEAD_LETTER_TOPIC": "" if setting.failed == "table" else self.letters,
            "KAFKA_CLAIM_CHECK": str(self.claims) if setting.has_claims else "",
            "QUEUE_FAILED_DRIVER": "null" if setting.failed == "topic" else "database-uuids",
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
            "CHAOS_TOPICS": ",".join(self.topics),
            "CHAOS_SABOTAGE": sabotage,
            **self.database.environment,
        }

    def _configure(self, providers: list[str]) -> None:
        setting = self.round.setting
        # With the protocol of KIP-848 the brokers have the sessions, and the client refuses to be told of them.
        self.project.configure(
            session_timeout=SESSION,
            sleep_on_error=1,
            partitions=2,
            ordering=setting.ordering,
            retry_in_place=setting.retry_in_place,
            revoke_wait=setting.revoke_wait,
            prefetch=setting.prefetch,
            delay_short=setting.delay_short,
            claim_above=CLAIM_ABOVE,
        )
        bootstrap = self.project.folder / "bootstrap/app.py"
        bootstrap.write_text(bootstrap.read_text().replace(LAST_PROVIDER, f"{LAST_PROVIDER} {', '.join(providers)},"))

    @property
    def ledger(self) -> Path:
        """The file of what has happened."""
        return self.project.ledger

    def history(self) -> History:
        """What has happened until now."""
        return History(self.round, read_ledger(self.ledger))

    def note(self, event: str, **fields: Any) -> None:
        """Write down what the round itself does."""
        write(self.ledger, event, **fields)

    # dispatching ───────────────────────────────────────────────────────────────────────────────────────────────────

    def dispatch(self) -> None:
        """Start the program that dispatches the round's orders; once more where it was killed."""
        file = self.project.folder / "orders.json"
        if not file.exists():
            self.began = time.time()
            file.write_text(json.dumps([asdict(order) for order in self.round.orders if order.parent < 0]))
        words = [str(file), str(self.began), str(self.round.setting.partitions)]
        with self._dispatching, (self.project.folder / "dispatcher.log").open("ab") as log:
            self._dispatcher = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.chaos.dispatching", *words],
                cwd=self.project.folder,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill_dispatcher(self) -> bool:
        """kill -9 of the program that dispatches; False where it is over."""
        with self._dispatching:
            one = self._dispatcher
            if one is None or one.poll() is not None:
                return False
            one.kill()
            one.wait(10)
            return True

    def await_dispatcher(self, *, seconds: float) -> int | None:
        """The exit code of the program that dispatches; None where it is not over in time."""
        deadline = time.monotonic() + seconds
        assert self._dispatcher is not None
        while self._dispatcher.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return self._dispatcher.poll()

    # topics and processes ──────────────────────────────────────────────────────────────────────────────────────────

    def add_partitions(self, topic: str, count: int) -> int:
        """Give a topic some partitions more; how many it has then."""
        admin = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})
        number = len(admin.list_topics(topic, timeout=BACK).topics[topic].partitions) + count
        for future in admin.create_partitions([NewPartitions(topic, number)]).values():
            future.result(BACK)
        return number

    def processes(self) -> list[psutil.Process]:
        """Every process that runs in the round's folder."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.cwd() == str(self.project.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def close(self) -> None:
        """End whatever runs still, and delete what the brokers have of it."""
        self.kill_dispatcher()
        self.project.close()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._delete_topics()
        self.database.close()

    def _delete_topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})
        names = [name for name in admin.list_topics(timeout=20).topics if name.startswith(tuple(self.topics))]
        for future in admin.delete_topics(names).values():
            future.result(20)
