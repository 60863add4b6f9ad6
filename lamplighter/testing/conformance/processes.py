"""What worker processes promise on a connection: they are killed, frozen, restarted, sent into maintenance mode."""

import base64
import json
import signal
import time
from collections.abc import Callable
from typing import ClassVar

import pytest

from lamplighter.contracts import Message
from lamplighter.testing.conformance.base import PROMISES, Conformance, message, needs, payload
from lamplighter.testing.project import CONNECTION, Project
from lamplighter.testing.waiting import LONG, wait_for

Push = Callable[..., None]

# Ends as a machine does whose current fails, as soon as the push has returned.
PUSH_AND_DIE = """
import os, signal, sys
sys.path.insert(0, ".")
from bootstrap.app import create_app
from lamplighter.contracts import Message
from lamplighter.queue.manager import QueueManager
queue = create_app().bootstrap().make(QueueManager).connection({connection!r})
queue.push(Message({payload!r}), queue={queue!r})
os.kill(os.getpid(), signal.SIGKILL)
"""


class ProcessConformance(Conformance):
    """A driver gives `config`.

    Attributes:
        uncounted: of how many first crashes of a job the start may not be counted.
    """

    uncounted: ClassVar[int] = 0

    @pytest.fixture(params=[1, 2], ids=["one queue", "two queues"])
    def names(self, request: pytest.FixtureRequest, queues: tuple[str, str]) -> tuple[str, ...]:
        """The queues of the workers."""
        return queues[: request.param]

    @pytest.fixture
    def push(self, request: pytest.FixtureRequest, project: Project, queues: tuple[str, str]) -> Push:
        """What pushes messages on one queue after the other; the next worker does where jobs end with their process."""

        def push(*messages: Message, names: tuple[str, ...] = queues) -> None:
            queue = None if "outlives" in self.lacks else request.getfixturevalue("connect")()
            for place, one in enumerate(messages):
                name = names[place % len(names)]
                if queue is None:
                    project.push_at_start(one, name)
                else:
                    queue.push(one, queue=name)

        return push

    # pools ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_pool_of_processes_runs_each_job_once(self, project: Project, push: Push, names: tuple[str, ...]) -> None:
        push(*(message(n) for n in range(10)), Message(b"{"), names=names)

        worker = project.worker("--pool=process", "-c", "2", "--stop-when-empty", queues=names)

        assert worker.wait(LONG) == 0, project.log()
        assert sorted(project.numbers("end")) == list(range(10))
        [recorded] = project.events("recorded")
        assert base64.b64decode(recorded["payload"]) == b"{"
        assert recorded["connection"] == CONNECTION

    @needs("delays")
    def test_a_job_that_kills_its_slot_is_started_as_often_as_it_may_be(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        push(message(1, kill=1), message(2, kill=9), message(3))

        worker = project.worker("--pool=process", "-c", "2", "--tries=2", queues=queues)
        project.wait_for("end", number=1)
        project.wait_for("end", number=3)
        project.wait_for("recorded")

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LONG) == 0, project.log()
        assert project.attempts("end", 1) == [2]
        assert project.attempts("start", 2) == [1, 2]

    # timeouts ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize("pool", ["solo", "process"])
    def test_a_job_that_has_overrun_fails_with_its_bytes(
        self, project: Project, push: Push, queues: tuple[str, str], pool: str
    ) -> None:
        hangs = payload(1, gate="never")
        push(Message(hangs))

        worker = project.worker(f"--pool={pool}", "--timeout=0.5", queues=queues)
        project.wait_for("recorded")
        if pool == "process":
            worker.send_signal(signal.SIGTERM)
        status = worker.wait(LONG)

        [recorded] = project.events("recorded")
        assert status == (137 if pool == "solo" else 0)
        assert {**json.loads(base64.b64decode(recorded["payload"])), "attempts": 0} == json.loads(hangs)
        assert (recorded["queue"], recorded["error"]) == (queues[0], "JobTimedOut")

    # large payloads ────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("claims", "outlives")
    @pytest.mark.parametrize("pool", ["solo", "process"])
    def test_a_large_payload_is_kept_in_a_folder_until_its_job_is_done(
        self, project: Project, push: Push, queues: tuple[str, str], pool: str
    ) -> None:
        folder = project.folder / "claims"
        project.configure(claim_check=str(folder), claim_above=2000)
        push(message(1, text="x" * 5000), message(2, text="y" * 5000, fail=9), message(3))
        kept = {path.suffix for path in folder.iterdir()}
        count = len(list(folder.iterdir()))

        worker = project.worker(f"--pool={pool}", queues=queues)
        project.wait_for("end", 2)
        project.wait_for("recorded")
        worker.send_signal(signal.SIGTERM)

        assert worker.wait(LONG) == 0, project.log()
        assert (kept, count) == ({".claim"}, 2)
        assert sorted(project.numbers("end")) == [1, 3]
        [recorded] = project.events("recorded")
        assert recorded["error"] == "RuntimeError"
        assert len(base64.b64decode(recorded["payload"])) < 2000
        assert sorted((path.suffix, path.stat().st_size > 5000) for path in folder.iterdir()) == [
            (".claim", True),  # `queue:retry` is to work
            (".done", False),
        ]

    @needs("claims", "outlives", "leases", "two workers")
    def test_a_large_payload_outlives_a_killed_worker(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        project.configure(claim_check=str(project.folder / "claims"), claim_above=2000)
        push(message(1, text="x" * 5000, kill=1))

        workers = [project.worker("--tries=3", queues=queues)]
        while wait_for(lambda: workers[-1].poll() is not None or self._ended(project), what="an end") is True:
            assert workers[-1].returncode == -signal.SIGKILL, project.log()
            workers.append(project.worker("--tries=3", queues=queues))

        workers[-1].send_signal(signal.SIGTERM)
        assert workers[-1].wait(LONG) == 0, project.log()
        assert project.attempts("end", 1) == [2]

    # kills ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("outlives")
    def test_what_push_has_acknowledged_is_safe(self, project: Project, queues: tuple[str, str]) -> None:
        program = PUSH_AND_DIE.format(connection=CONNECTION, payload=payload(1), queue=queues[1])
        project.python(program)

        project.worker("--stop-when-empty", queues=queues).wait(LONG)

        assert project.attempts("end", 1) == [1]

    @needs("outlives", "leases", "two workers")
    def test_attempts_survive_a_kill(self, project: Project, push: Push, names: tuple[str, ...]) -> None:
        push(*(message(n, gate="shut") for n in range(3)), names=names)
        first = project.worker("--pool=thread", "-c", "2", "--tries=2", queues=names)
        project.wait_for("start", 2)
        begun = set(project.numbers("start"))

        first.kill()
        first.wait(LONG)
        project.open_gate("shut")
        second = project.worker("--tries=2", "--pool=thread", "-c", "2", queues=names)
        project.wait_for("end", 3)

        second.send_signal(signal.SIGTERM)
        assert second.wait(LONG) == 0, project.log()
        assert len(begun) == 2
        for n in range(3):
            [attempts] = project.attempts("end", n)
            assert 2 - self.uncounted <= attempts <= 2 if n in begun else attempts == 1

    @needs("outlives", "leases", "two workers")
    @pytest.mark.parametrize("tries", ["--tries=2", "--tries=1"])
    def test_a_job_that_kills_each_worker_fails_after_its_tries(
        self, project: Project, push: Push, names: tuple[str, ...], tries: str
    ) -> None:
        """Nobody has said that it is to be started once only: it may be innocent, and is started once more."""
        kills = payload(1, kill=9)
        push(Message(kills), names=names)

        workers = [project.worker(tries, queues=names)]
        while wait_for(lambda: workers[-1].poll() is not None or project.events("recorded"), what="an end") is True:
            assert workers[-1].returncode == -signal.SIGKILL, project.log()
            assert len(workers) < 9, f"a job with {tries} was started by nine workers"
            workers.append(project.worker(tries, queues=names))
        push(message(2), names=names)
        project.wait_for("end", number=2)

        workers[-1].send_signal(signal.SIGTERM)
        assert workers[-1].wait(LONG) == 0, project.log()
        [recorded] = project.events("recorded")
        assert 2 <= len(project.attempts("start", 1)) <= 2 + self.uncounted
        assert {**json.loads(base64.b64decode(recorded["payload"])), "attempts": 0} == json.loads(kills)
        assert (recorded["queue"], recorded["error"]) == (names[0], "MaxAttemptsExceeded")

    @needs("outlives", "leases", "two workers")
    @pytest.mark.parametrize("data", [{}, {"away": 1}], ids=["killed", "killed and excused"])
    def test_a_job_whose_worker_was_killed_is_run_to_its_end(
        self, project: Project, push: Push, queues: tuple[str, str], data: dict[str, int]
    ) -> None:
        if data and "excuses" in self.lacks:
            pytest.skip(f"not promised, {PROMISES['excuses']}: {self.lacks['excuses']}")
        push(message(1, "probe", kill=1, **data))

        workers = [project.worker(queues=queues)]
        while wait_for(lambda: workers[-1].poll() is not None or self._ended(project), what="an end") is True:
            assert workers[-1].returncode == -signal.SIGKILL, project.log()
            workers.append(project.worker(queues=queues))

        workers[-1].send_signal(signal.SIGTERM)
        assert workers[-1].wait(LONG) == 0, project.log()
        assert project.events("recorded") == []
        assert project.attempts("end", 1) == [2]

    @needs("outlives", "leases", "two workers")
    @pytest.mark.parametrize("pool", ["solo", "process"])
    def test_a_call_of_many_that_kills_its_process_harms_no_neighbour(
        self, project: Project, push: Push, queues: tuple[str, str], pool: str
    ) -> None:
        push(*(message(n, "many probes", kill=int(n == 1)) for n in range(4)), names=queues[:1])

        workers = [project.worker(f"--pool={pool}", queues=queues)]
        while wait_for(lambda: workers[-1].poll() is not None or len(project.events("end")) == 4, what="an end"):
            if workers[-1].poll() is None:
                break
            assert workers[-1].returncode == -signal.SIGKILL, project.log()
            workers.append(project.worker(f"--pool={pool}", queues=queues))

        workers[-1].send_signal(signal.SIGTERM)
        assert workers[-1].wait(LONG) == 0, project.log()
        assert sorted(project.numbers("end")) == list(range(4))
        assert max(project.numbers("call")) > 1
        assert project.events("recorded") == []

    @needs("outlives", "leases", "two workers")
    def test_a_failed_that_kills_its_workers_is_given_up(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        push(message(1, fail=9, deadly=True), names=queues[:1])

        deaths = 0
        worker = project.worker("--stop-when-empty-for=3", queues=queues)
        while worker.wait(LONG) == -signal.SIGKILL:
            deaths += 1
            assert deaths <= 5, project.log()
            worker = project.worker(f"--stop-when-empty-for={3 * self.lease:g}", queues=queues)

        assert worker.returncode == 0, project.log()
        assert deaths == len(project.events("failed"))
        assert 2 <= deaths <= 5
        assert project.events("recorded")

    @needs("outlives", "leases", "two workers")
    def test_the_late_end_of_a_frozen_worker_changes_nothing(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        push(message(1, gate="first"))
        frozen = project.worker("--max-jobs=1", "--tries=3", queues=queues)
        project.wait_for("start")
        frozen.send_signal(signal.SIGSTOP)

        second = project.worker("--tries=3", queues=queues)
        project.wait_for("start", 2)
        second.send_signal(signal.SIGSTOP)  # before its handler can end: the gate opens only now
        project.open_gate("first")
        frozen.send_signal(signal.SIGCONT)
        frozen.wait(LONG)
        second.kill()
        second.wait(LONG)
        third = project.worker("--tries=3", queues=queues)
        project.wait_for("start", 3)

        third.send_signal(signal.SIGTERM)
        assert third.wait(LONG) == 0, project.log()
        first, second_start, last = project.attempts("start", 1)
        assert (first, second_start, last) in {(1, 2, 3), (1, 2 - self.uncounted, 3 - self.uncounted)}
        assert project.attempts("end", 1) == [1, last]

    # two workers ────────────────────────────────────────────────────────────────────────────────────────────────────

    @needs("outlives", "leases", "two workers")
    def test_a_job_of_three_leases_runs_once_beside_another_worker(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        push(message(1, gate="long"), names=queues[:1])

        workers = [project.worker(queues=queues) for _ in range(2)]
        project.wait_for("start")
        time.sleep(3 * self.lease)  # what the test is about
        project.open_gate("long")
        project.wait_for("end")

        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LONG) == 0, project.log()
        assert project.attempts("start", 1) == project.attempts("end", 1) == [1]

    @needs("outlives", "priority", "two workers")
    def test_no_job_of_a_later_queue_starts_while_an_earlier_one_has_any(
        self, project: Project, push: Push, queues: tuple[str, str]
    ) -> None:
        push(*(message(n) for n in range(100, 130)), names=queues[1:])
        push(*(message(n) for n in range(30)), names=queues[:1])

        workers = [project.worker("--stop-when-empty", queues=queues) for _ in range(2)]
        for worker in workers:
            assert worker.wait(LONG) == 0, project.log()

        started = project.numbers("start")
        assert sorted(started) == [*range(30), *range(100, 130)]
        low = next(place for place, n in enumerate(started) if n >= 100)
        # The other worker may have had the last one in hand already, and have said so later.
        assert len([n for n in started[low:] if n < 100]) <= 1

    @needs("outlives", "weights")
    @pytest.mark.parametrize("pool", ["solo", "thread"])
    def test_a_worker_shares_its_starts_by_the_weights_of_its_queues(
        self, project: Project, push: Push, queues: tuple[str, str], pool: str
    ) -> None:
        push(*(message(n) for n in range(48)))
        slots = 1 if pool == "solo" else 2

        names = (f"{queues[0]}:1", f"{queues[1]}:3")
        worker = project.worker("--max-jobs=24", f"--pool={pool}", f"--concurrency={slots}", queues=names)

        assert worker.wait(LONG) == 0, project.log()
        started = [event["queue"] for event in project.events("start")]
        assert len(started) == 24
        assert abs(started.count(queues[1]) - 18) <= 2 * slots

    # what operators do ─────────────────────────────────────────────────────────────────────────────────────────────

    @pytest.mark.parametrize("pool", ["solo", "process"])
    def test_idle_workers_restart_when_they_are_told(
        self, project: Project, push: Push, queues: tuple[str, str], pool: str
    ) -> None:
        push(message(1))
        worker = project.worker(f"--pool={pool}", queues=queues)
        project.wait_for("end")

        project.artisan("queue:restart")

        assert worker.wait(LONG) == 0, project.log()
        assert "restart_signal" in project.log()

    def test_in_maintenance_mode_jobs_wait(self, project: Project, push: Push, queues: tuple[str, str]) -> None:
        push(message(1), message(2))
        project.artisan("down")
        worker = project.worker(queues=queues)
        wait_for(lambda: "maintenance" in project.log(), what="the worker's word")
        begun = project.events("start")

        project.artisan("up")
        project.wait_for("end", 2)

        worker.send_signal(signal.SIGTERM)
        assert worker.wait(LONG) == 0, project.log()
        assert begun == []
        assert sorted(project.numbers("end")) == [1, 2]

    def _ended(self, project: Project) -> list[object]:
        return [*project.events("end"), *project.events("recorded")]
