"""What a driver's tests say about it, and the fixtures that all of them share."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, cast

import pytest

from lamplighter.contracts import Message, WorkQueue
from lamplighter.foundation.application import Application
from lamplighter.queue.manager import QueueManager
from lamplighter.testing.project import CONNECTION, Project
from lamplighter.testing.waiting import bounded

F = TypeVar("F", bound=Callable[..., Any])

PROMISES: Mapping[str, str] = MappingProxyType(
    {
        "claims": "payloads that are large are kept in a folder, by the keys claim_check and claim_above",
        "clear": "all jobs of a queue can be deleted at once",
        "crashes": "a start that ended without a word can be told from one that was released",
        "delays": "a job can be pushed that is to run later",
        "excuses": "a start can be taken back, so that it is no attempt",
        "first again": "what a worker gives back unrun is the next job that is taken",
        "large": "a payload may have a million bytes",
        "leases": "a job whose worker is silent for `lease` seconds is given to another one",
        "order": "jobs of one queue begin in the order in which they were pushed",
        "outlives": "jobs are kept when the process ends that has pushed them",
        "priority": "no job of a later queue begins while an earlier one has any",
        "sizes": "the jobs of a queue can be counted",
        "two workers": "several connections to one store can be made",
        "weights": "of queues with weights, each has its share of the starts while all of them have jobs",
    }
)


class Conformance:
    """What a driver's tests say about it.

    Attributes:
        lease: seconds after which a job goes to another worker when its own is silent; short ones make short tests.
        lacks: what the driver does not promise, by a word of `PROMISES`; such tests are skipped with the reason.
        late: seconds that a job may be later than it was asked for, on a busy host.
        step: seconds of the smallest delay that the driver can tell from none.
        patience: seconds after which a test is broken off: a driver whose call never returns fails, and does not hang.
        provider: the service provider that adds the driver, `module:Class`, for a driver that is not the framework's.
        files: further files of the test's project, by their path in it, such as `config/kafka.py`.
        environment: variables of its processes.
    """

    lease: ClassVar[float] = 1.0
    lacks: ClassVar[Mapping[str, str]] = MappingProxyType({})
    late: ClassVar[float] = 5.0
    step: ClassVar[float] = 0.2
    patience: ClassVar[float] = 240.0
    provider: ClassVar[str] = ""
    files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    environment: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def skip_what_is_not_promised(self, request: pytest.FixtureRequest) -> None:
        """Skip a test with the driver's own reason."""
        unknown = self.lacks.keys() - PROMISES.keys()
        assert not unknown, f"{type(self).__name__}.lacks names no promise: {', '.join(sorted(unknown))}"
        for word in getattr(request.function, "needs", ()):
            if word in self.lacks:
                pytest.skip(f"not promised, {PROMISES[word]}: {self.lacks[word]}")

    @pytest.fixture(autouse=True)
    def break_off_what_hangs(self) -> Iterator[None]:
        """Let no test wait for ever."""
        with bounded(self.patience, what="the test"):
            yield

    @pytest.fixture
    def queues(self) -> tuple[str, str]:
        """Two queues that no other test has used."""
        tail = uuid.uuid4().hex[:8]
        return f"first-{tail}", f"second-{tail}"

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The connection as config/queue.py has it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `config`, a connection of config/queue.py.")

    @pytest.fixture
    def project(self, tmp_path: Path, config: Mapping[str, Any]) -> Iterator[Project]:
        """A project whose only connection is the one that is tested."""
        folder = tmp_path / "project"
        project = Project(folder, config, provider=self.provider, files=self.files, environment=self.environment)
        yield project
        project.close()

    @pytest.fixture
    def connect(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], WorkQueue]]:
        """What makes one more connection to the same store, as another process would have one."""
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(Application, "current", Application.current)
        for name, value in project.own_environment.items():
            monkeypatch.setenv(name, value)
        applications: list[Application] = []

        def connect() -> WorkQueue:
            app = project.application()
            applications.append(app)
            queue = app.make(QueueManager).connection(CONNECTION)
            assert "work" not in queue.lacks, queue.lacks["work"]
            return cast(WorkQueue, queue)

        yield connect
        for app in applications:
            app.make(QueueManager).close(timeout=5)


def needs(*words: str) -> Callable[[F], F]:
    """A test of what not every driver promises."""
    unknown = set(words) - PROMISES.keys()
    assert not unknown, unknown

    def mark(test: F) -> F:
        test.needs = words  # type: ignore[attr-defined]
        return test

    return mark


def payload(number: int = 0, name: str = "probe", **data: Any) -> bytes:
    """The payload of a job, as Laravel's, with the number of the job in its data."""
    envelope = {
        "uuid": str(uuid.uuid4()),
        "displayName": name,
        "job": name,
        "maxTries": None,
        "backoff": None,
        "timeout": None,
        "data": {"n": number, **data},
        "id": uuid.uuid4().hex,
        "attempts": 0,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def message(number: int = 0, name: str = "probe", **data: Any) -> Message:
    """The same, as it is pushed."""
    return Message(payload(number, name, **data))


def number_of(payload: bytes) -> int:
    """The number of a job."""
    return int(json.loads(payload)["data"]["n"])


def attempts_of(payload: bytes, retries: int) -> int:
    """How often a job was started, the start at hand included: its payload tells those before, or its store does."""
    return int(json.loads(payload)["attempts"]) + retries + 1


def numbers_of(payloads: Sequence[bytes]) -> list[int]:
    """The numbers of jobs."""
    return [number_of(payload) for payload in payloads]
