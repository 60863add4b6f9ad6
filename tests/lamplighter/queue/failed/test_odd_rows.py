"""Rows of failed jobs that hold what no worker writes: SQLite takes any value in any column."""

import pytest

from lamplighter.database.manager import DatabaseManager
from lamplighter.foundation.application import Application
from lamplighter.queue.failed import FailedJobs
from tests.lamplighter.queue.test_failed_commands import Artisan, Box, Screen, app, artisan, box, failed_jobs, keep

__all__ = ["app", "artisan", "box", "failed_jobs"]  # fixtures

INVALID = "cast(x'ff' as text)"
# What can't be pushed as it was.
FAULTS = {
    "key = 'order-7'": "key is TEXT",
    "key = 7": "key is a number",
    "payload_bytes = 'abc'": "payload_bytes is TEXT",
    "payload_bytes = 7": "payload_bytes is a number",
    "queue = x'ff'": "queue is a BLOB",
    "connection = x'ff'": "connection is a BLOB",
}
HARMLESS = [
    "failed_at = 'yesterday'",
    "failed_at = '0000-00-00 00:00:00'",
    "failed_at = 1700000000",
    "failed_at = x'ff'",
    f"failed_at = {INVALID}",
    "payload = CAST(payload AS BLOB)",
    "headers = x'ff'",
    f"headers = {INVALID}",
    "exception = x'ff'",
    f"exception = {INVALID}",
    "origin = x'ff'",
    "uuid = x'ff'",
    "uuid = ''",
    f"uuid = {INVALID}",
    "uuid = '--help'",
    "uuid = 'all'",
]


@pytest.fixture
def jobs(app: Application, failed_jobs: FailedJobs, request: pytest.FixtureRequest) -> FailedJobs:
    """Two failed jobs, of which one was made odd by the test's parameter `change`."""
    keep(failed_jobs, "odd", payload=b'{"job":"odd"}')
    keep(failed_jobs, "good", payload=b'{"job":"good"}')
    with app.make(DatabaseManager).engine().begin() as connection:
        connection.exec_driver_sql(f"UPDATE failed_jobs SET {request.getfixturevalue('change')} WHERE uuid = 'odd'")
    return failed_jobs


@pytest.mark.parametrize(("change", "fault"), FAULTS.items())
def test_a_job_that_can_not_be_retried_is_named_and_the_others_go_on(
    jobs: FailedJobs, artisan: Artisan, box: Box, capsys: Screen, change: str, fault: str
) -> None:
    listed = artisan("queue:failed")
    shown = capsys.readouterr().out
    code = artisan("queue:retry", "all")
    told = " ".join("".join(capsys.readouterr()).split())

    assert (listed, code) == (0, 1)
    assert fault in shown
    assert f"[odd] can't be retried: its {fault}" in told
    assert [b"good" in message.payload for _, message in box.pushed] == [True]
    assert jobs.ids() == ["odd"]
    assert artisan("queue:forget", "odd") == 0
    assert jobs.ids() == []


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_odd_beside_the_message_keeps_no_job_from_its_queue(
    jobs: FailedJobs, artisan: Artisan, box: Box, change: str
) -> None:
    codes = artisan("queue:failed"), artisan("queue:failed", "--json"), artisan("queue:retry", "all")

    assert codes == (0, 0, 0)
    assert sorted(b"good" in message.payload for _, message in box.pushed) == [False, True]
    assert jobs.ids() == []


@pytest.mark.parametrize("change", [*FAULTS, *HARMLESS])
def test_each_is_forgotten_by_the_id_that_is_shown(jobs: FailedJobs, artisan: Artisan, change: str) -> None:
    [id] = [id for id in jobs.ids() if id != "good"]

    code = artisan("queue:forget", id)

    assert (code, jobs.ids()) == (0, ["good"])


@pytest.mark.parametrize("change", [*FAULTS, *HARMLESS])
def test_all_are_flushed(jobs: FailedJobs, artisan: Artisan, change: str) -> None:
    assert artisan("queue:flush", "--force") == 0
    assert jobs.ids() == []


@pytest.mark.parametrize("change", ["failed_at = 'yesterday'", "failed_at = '1999-01-01 00:00:00'"])
def test_only_what_has_a_time_is_flushed_by_its_age(jobs: FailedJobs, artisan: Artisan, change: str) -> None:
    artisan("queue:flush", "--hours=24", "--force")

    assert jobs.ids() == (["good", "odd"] if "yesterday" in change else ["good"])
