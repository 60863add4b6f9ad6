"""What `queue:work` prints, beside what Laravel printed."""

import io
import json
import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from lamplighter.console.output import Output
from lamplighter.contracts import Message
from lamplighter.events import Dispatcher
from lamplighter.queue.commands.lines import JsonLines, Lines, run_time
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.events import JobFailed, JobProcessed, JobProcessing, JobReleased
from lamplighter.queue.jobs.payload import Envelope
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.worker.runner import Start

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden/queue_work_output.json").read_text())[
    "cases"
]
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def golden(case: str, command: str) -> str:
    """What Laravel printed without a terminal, with its own times taken out."""
    found = next(one for one in CASES if one["case"] == case and one["cmd"].endswith(command) and not one["tty"])
    return str(found["stdout"])


def printed(kind: type[Lines], events: list[object], *, verbosity: int = 0) -> str:
    """What we print of these events."""
    screen, dispatcher = io.StringIO(), Dispatcher()
    lines = kind(Output(screen, verbosity=verbosity), UTC)
    lines.listen(dispatcher)
    for event in events:
        dispatcher.dispatch(event)
    lines.flush()
    return screen.getvalue()


@pytest.fixture
def start() -> Start:
    """A start of the job in the golden files."""
    start = Start(SyncDelivery(Message(b"{}"), "redis", "default"), Policy(tries=1, backoff=(), timeout=60))
    start.name = "job.data.store"
    start.envelope = Envelope(job=start.name, id="mPQfm2QE8daLXQw9LxPwgGICzvzYFcJS", uuid="u-1")
    return start


def timeless(text: str) -> str:
    """Without the times."""
    return STAMP.sub("NOW", text)


def test_a_success_is_printed_as_laravel_prints_it(start: Start) -> None:
    ours = printed(Lines, [JobProcessing(start), JobProcessed(start, 0.00178)])

    assert timeless(ours) == timeless(golden("success_string", "--sleep=0"))


def test_with_v_the_id_the_connection_and_the_queue_are_told(start: Start) -> None:
    ours = printed(Lines, [JobProcessing(start), JobProcessed(start, 0.00047)], verbosity=1)

    assert timeless(ours) == timeless(golden("success_string", "-v"))


def test_a_failure_is_printed_as_laravel_prints_it(start: Start) -> None:
    start.name = "job.ctl"

    ours = printed(Lines, [JobProcessing(start), JobFailed(start, 0.00193, RuntimeError("boom"))])

    assert timeless(ours) == timeless(golden("failure_tries1", "--sleep=0"))


@pytest.mark.parametrize("case", ["success_string", "failure_tries1"])
def test_json_has_laravels_keys_in_order(start: Start, case: str) -> None:
    failed = JobFailed(start, 0.001, RuntimeError("boom"))
    end = failed if case == "failure_tries1" else JobProcessed(start, 0.001)

    ours = [json.loads(line) for line in printed(JsonLines, [JobProcessing(start), end]).splitlines()]
    theirs = [json.loads(line) for line in golden(case, "--json").splitlines()]

    assert [list(line) for line in ours] == [list(line) for line in theirs]
    assert [line["status"] for line in ours] == [line["status"] for line in theirs]
    assert [line["level"] for line in ours] == [line["level"] for line in theirs]


def test_a_release_tells_that_it_will_run_again(start: Start) -> None:
    ours = printed(JsonLines, [JobReleased(start, 0.1, 5, ValueError("later"))])

    line = json.loads(ours)
    assert (line["status"], line["result"], line["exception"], line["message"]) == (
        "released_after_exception",
        "released",
        "ValueError",
        "later",
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00178, "1.78ms"), (0.9994, "999.40ms"), (2.5, "2s"), (65, "1m 5s"), (3600, "1h"), (90061, "1d 1h 1m 1s")],
)
def test_run_times_are_for_people(seconds: float, text: str) -> None:
    assert run_time(seconds) == text


def test_a_message_that_is_no_utf_8_is_told_escaped(start: Start) -> None:
    ours = printed(JsonLines, [JobFailed(start, 0.1, OSError("no file \udcff"))])

    assert json.loads(ours)["message"] == "no file \\udcff"


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_name_from_the_wire_is_one_short_line(start: Start, verbosity: int) -> None:
    start.name = "\x1b[2Jjob\n" + "x" * 10_000
    start.envelope = Envelope(job="job", id=start.name)

    ours = printed(Lines, [JobProcessing(start)], verbosity=verbosity)

    assert (ours.count("\n"), "\x1b" in ours, len(ours) < 500) == (1, False, True)


def test_a_full_disk_under_the_output_fails_no_job(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    lines = Lines(Output(Full()), UTC)
    for _ in range(2):
        lines.on_processing(JobProcessing(start))
        lines.flush()

    assert ["can't be written" in record.message for record in caplog.records] == [True]


def test_half_of_a_surrogate_pair_in_a_name_keeps_no_line_back(start: Start) -> None:
    start.name = "half \ud800"

    ours = printed(JsonLines, [JobProcessing(start), JobProcessed(start, 0.1)])

    assert [json.loads(line)["job"] for line in ours.splitlines()] == ["half \ud800"] * 2
