"""Logs on a stderr that a job has closed."""

from tests.programs import run

CLOSED = """
import logging
from lamplighter.logging.streams import LogStream

log = logging.getLogger("closed")
log.addHandler(LogStream(sys.stderr))
log.error("before")
sys.stderr.close()
{close}
log.error("after")
print("goes on")
"""


def test_a_log_goes_on_where_a_job_has_closed_stderr() -> None:
    program = "import os\nos.dup2(1, 2)\n" + CLOSED.format(close="")

    assert run(program).splitlines() == ["before", "after", "goes on"]


def test_a_line_that_can_be_written_nowhere_ends_nothing() -> None:
    program = "import os\n" + CLOSED.replace("LogStream(sys.stderr)", "LogStream(open(os.devnull, 'w'))")

    assert "goes on" in run(program.format(close="log.handlers[0].stream.close(); os.closerange(3, 100)"))
