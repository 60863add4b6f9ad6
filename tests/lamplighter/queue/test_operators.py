"""`queue:pause`, `queue:resume` and `queue:clear`, as operators call them."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter.cache.provider import CacheServiceProvider
from lamplighter.cache.repository import Cache
from lamplighter.contracts import Config, Events, Message
from lamplighter.database.provider import DatabaseServiceProvider
from lamplighter.foundation.application import Application
from lamplighter.foundation.provider import FoundationServiceProvider
from lamplighter.queue.events import QueuePaused, QueueResumed, QueuesPaused, QueuesResumed
from lamplighter.queue.guard.pausing import PauseSignals
from lamplighter.queue.jobs.payload import write
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.provider import QueueServiceProvider

CONFIG = """
config = {
    "default": "memory",
    "connections": {
        "sync": {"driver": "sync"},
        "memory": {"driver": "memory"},
        "other": {"driver": "memory"},
        "failover": {"driver": "failover", "connections": ["memory", "other"]},
        "broken": {"driver": "none"},
    },
    "failed": {"driver": None},
}
"""
CACHE = """config = {"default": "array", "stores": {"array": {"driver": "array"}}}"""
Told = Callable[..., tuple[int, str]]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """An application with a connection that keeps jobs, and one that keeps none."""
    monkeypatch.setenv("APP_ENV", "testing")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/queue.py").write_text(CONFIG)
    (tmp_path / "config/cache.py").write_text(CACHE)
    return Application(
        tmp_path,
        providers=[FoundationServiceProvider, CacheServiceProvider, DatabaseServiceProvider, QueueServiceProvider],
    ).bootstrap()


@pytest.fixture
def told(app: Application, capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command; its exit code, and what it has said."""

    def run(*words: str) -> tuple[int, str]:
        status = app.run(list(words))
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def paused(app: Application, *queues: str) -> list[str]:
    """Which of these queues workers would leave alone."""
    return sorted(PauseSignals(app.make(Cache)).paused("memory", queues))


@pytest.mark.parametrize("words", ["high", "memory:high"])
@pytest.mark.parametrize("again", ["queue:resume", "queue:continue"])
def test_a_queue_is_paused_and_goes_on(app: Application, told: Told, words: str, again: str) -> None:
    status, said = told("queue:pause", words)
    between = paused(app, "high", "low")
    last, goes_on = told(again, words)

    assert (status, last) == (0, 0)
    assert "Job processing on queue [memory:high] has been paused." in said
    assert "Job processing on queue [memory:high] has been resumed." in goes_on
    assert (between, paused(app, "high")) == (["high"], [])


def test_all_queues_are_paused_and_go_on_but_for_one_that_was_paused_by_name(app: Application, told: Told) -> None:
    told("queue:pause", "low")
    status, said = told("queue:pause", "--all")
    between = paused(app, "high", "low")
    last, goes_on = told("queue:resume", "--all")

    assert (status, last) == (0, 0)
    assert "Job processing on all queues across all connections has been paused." in said
    assert "Job processing on all queues across all connections has been resumed." in goes_on
    assert (between, paused(app, "high", "low")) == (["high", "low"], ["low"])


def test_whoever_ends_one_pause_is_told_of_the_other(told: Told) -> None:
    told("queue:pause", "--all")

    status, said = told("queue:resume", "high")

    assert status == 0
    assert "All queues are paused besides" in said


def test_listeners_hear_of_pauses(app: Application, told: Told) -> None:
    heard: list[object] = []
    for event in (QueuePaused, QueueResumed, QueuesPaused, QueuesResumed):
        app.make(Events).listen(event, heard.append)

    for words in (
        ["queue:pause", "high"],
        ["queue:resume", "high"],
        ["queue:pause", "--all"],
        ["queue:resume", "--all"],
    ):
        told(*words)

    assert heard == [QueuePaused("memory", "high"), QueueResumed("memory", "high"), QueuesPaused(), QueuesResumed()]


@pytest.mark.parametrize("paused_as", ["memory", "failover"])
@pytest.mark.parametrize("looked_for", ["memory", "failover"])
def test_a_failovers_queue_is_paused_under_each_of_its_names(
    app: Application, told: Told, paused_as: str, looked_for: str
) -> None:
    told("queue:pause", f"{paused_as}:high")

    signals = PauseSignals(app.make(Cache), app.make(QueueManager).names_of)
    assert signals.paused(looked_for, ["high", "low"]) == {"high"}
    assert signals.paused("other", ["high"]) == frozenset()
    assert "PAUSED" in told("queue:monitor", f"{looked_for}:high")[1]


def test_whoever_ends_a_pause_is_told_under_which_name_the_queue_is_still_paused(told: Told) -> None:
    told("queue:pause", "memory:high")

    status, said = told("queue:resume", "failover:high")

    assert status == 0
    assert "`queue:resume memory:high`" in " ".join(said.split())


@pytest.mark.parametrize("command", ["queue:pause", "queue:resume", "queue:continue"])
def test_without_a_queue_none_is_paused(told: Told, command: str) -> None:
    status, said = told(command)

    assert status == 1
    assert "A queue name is required unless the --all option is used." in said


@pytest.mark.parametrize("command", ["queue:pause", "queue:resume", "queue:continue"])
def test_a_name_beside_all_is_refused(app: Application, told: Told, command: str) -> None:
    told("queue:pause", "low")

    status, said = told(command, "high", "--all")

    assert status == 1
    assert "--all means every queue: give no name beside it. Nothing was done." in said
    assert paused(app, "high", "low") == ["low"]


@pytest.mark.parametrize("command", ["queue:pause", "queue:resume", "queue:continue"])
def test_a_connection_that_can_not_be_paused_says_why(app: Application, told: Told, command: str) -> None:
    status, said = told(command, "sync:high")

    assert status == 1
    assert "The connection 'sync' can't be paused. Its jobs end where they are dispatched." in said


@pytest.mark.parametrize(
    "words",
    [
        ("queue:pause", "redsi:high"),
        ("queue:resume", "redsi:high"),
        ("queue:continue", "redsi:high"),
        ("queue:monitor", "high,redsi:high"),
        ("queue:clear", "redsi"),
        ("queue:delayed", "redsi"),
        ("queue:cancel", "7", "--connection=redsi"),
        ("queue:work", "redsi"),
    ],
    ids=lambda words: words[0],
)
def test_a_connection_that_is_not_there_is_told_with_those_that_are(told: Told, words: tuple[str, ...]) -> None:
    status, said = told(*words)

    assert status == 1
    assert "has no connection 'redsi'; it has broken, failover, memory, other, sync." in " ".join(said.split())


def test_a_table_of_jobs_for_a_connection_that_has_none_is_refused_with_those_that_have(
    app: Application, told: Told
) -> None:
    app.make(Config).set("queue.connections.rows", {"driver": "database"})

    status, said = told("queue:table", "memory")

    assert status == 1
    assert "no connection 'memory' with the driver `database`; it has rows." in " ".join(said.split())


def test_how_far_a_pause_reaches_is_said(told: Told) -> None:
    assert "no worker will see the signal" in told("queue:pause", "high")[1]


def test_queues_are_cleared_and_counted(app: Application, told: Told) -> None:
    queue = app.make(QueueManager).connection("memory")
    queue.bulk([Message(b"{}")] * 2, queue="high")
    queue.push(Message(b"{}"), queue="low", delay=60)
    queue.push(Message(b"{}"), queue="other")

    status, said = told("queue:clear", "memory", "--queue=high, low, high")

    assert status == 0
    assert "Cleared 2 jobs from the [high] queue." in said
    assert "Cleared 1 job from the [low] queue." in said
    assert queue.sizes("other").pending == 1


def test_delayed_jobs_are_listed_and_cancelled(app: Application, told: Told) -> None:
    queue = app.make(QueueManager).connection("memory")
    for number in (1, 2):
        queue.push(Message(b'{"id":"id-%d","displayName":"letter"}' % number), queue="high", delay=60)

    _, listed = told("queue:delayed", "memory", "--json")
    first, second = json.loads(listed)["delayed_jobs"]
    cancelled = told("queue:cancel", first["id"]), told("queue:cancel", "id-2", "--connection=memory")
    gone, said = told("queue:cancel", "id-2")

    assert [(job["job_id"], job["class"], job["queue"]) for job in (first, second)] == [
        ("id-1", "letter", "high"),
        ("id-2", "letter", "high"),
    ]
    assert [status for status, _ in cancelled] == [0, 0]
    assert (gone, queue.sizes("high").delayed) == (1, 0)
    assert "No delayed job of this id can be cancelled" in said


def test_clearing_a_failover_says_which_jobs_stay(app: Application, told: Told) -> None:
    for name in ("memory", "other"):
        app.make(QueueManager).connection(name).push(Message(b"{}"), queue="default")

    status, said = told("queue:clear", "failover")

    assert status == 0
    assert "Cleared 1 job from the [default] queue." in said
    assert "`queue:clear other`" in " ".join(said.split())


def test_a_connection_that_can_not_be_cleared_says_why(told: Told) -> None:
    status, said = told("queue:clear", "sync")

    assert status == 1
    assert "The connection 'sync' can't be cleared. Its jobs end where they are dispatched." in said


def test_in_production_nothing_is_cleared_without_a_word(
    app: Application, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = app.make(QueueManager).connection("memory")
    queue.push(Message(b"{}"), queue="default")
    monkeypatch.setattr(type(app), "environment", "production")

    refused, said = told("queue:clear", "-n")
    forced, _ = told("queue:clear", "--force", "-n")

    assert (refused, forced) == (1, 0)
    assert "The application is in production." in said


def test_in_production_nothing_listens_for_changes_of_the_code(
    app: Application, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(app), "environment", "production")

    status, said = told("queue:listen", "-n")

    assert status == 1
    assert "queue:listen is for development." in said


def test_a_connection_that_can_not_be_worked_names_those_that_can(told: Told) -> None:
    status, said = told("queue:work", "sync")

    assert status == 1
    assert "The connection 'sync' can't be worked. Its jobs end where they are dispatched." in said
    assert "There are: failover, memory, other." in said


def test_old_payloads_of_a_connection_are_pruned(app: Application, told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    options = {"driver": "memory", "claim_check": str(folder), "claim_above": 1000}
    app.make(Config).set("queue.connections.memory", options)
    queue = app.make(QueueManager).connection("memory")
    for text in ("old", "young"):
        queue.push(Message(write(text, {"text": text * 1000}, id=text)), queue="default")
    [old, _] = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    os.utime(old, (time.time() - 61 * 86_400,) * 2)

    status, said = told("queue:prune-claims")

    assert status == 0
    assert "1 payload deleted" in said
    assert len(list(folder.iterdir())) == 1


def test_a_connection_that_puts_nothing_aside_has_nothing_to_prune(told: Told) -> None:
    for name in ("memory", "sync"):
        status, said = told("queue:prune-claims", name)

        assert status == 1
        assert f"'{name}' has no claim_check" in said
