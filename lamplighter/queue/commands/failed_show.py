"""`queue:failed:show`: all that is kept of one failed job."""

import base64
import json as json_module
from typing import Annotated, Any

import msgspec
import typer

from lamplighter.console.command import Command
from lamplighter.console.output import cell
from lamplighter.queue.commands.failed import TIME, fields_of
from lamplighter.queue.commands.ids import refuse_empty
from lamplighter.queue.failed import FailedJob, FailedJobs


class FailedShowCommand(Command):
    """Show one failed job with its payload and its error."""

    name = "queue:failed:show"
    description = "Show one failed job with its payload and its error"

    def __init__(self, failed_jobs: FailedJobs) -> None:
        self._failed_jobs = failed_jobs

    def handle(
        self,
        id: Annotated[str, typer.Argument(metavar="ID", help="The job's id")],
        json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    ) -> int:
        """Print it; 1 when there is no such job."""
        refuse_empty([id])
        job = self._failed_jobs.find(id)
        if job is None:
            self.output.error(f"Unable to find failed job with ID [{id}].")
            return 1
        if json:
            self.output.write(json_module.dumps(_fields(job)) + "\n")
        else:
            self._print(job)
        return 0

    def _print(self, job: FailedJob) -> None:
        told = {
            "ID": job.id,
            "Job": job.name,
            "Connection": job.connection,
            "Queue": job.queue,
            "Failed at": f"{job.failed_at.strftime(TIME)} UTC",
            "Origin": job.origin or "unknown",
            "Key": "none" if job.key is None else _shown(job.key),
            "Headers": "" if job.headers else "none",
        }
        for name, value in told.items():
            self._pair(name, value)
        for name, header in job.headers:
            self._pair(f"  {name}", "null" if header is None else _shown(header))
        self._part("Payload", _pretty(job.payload))
        self._part("Error", job.exception)

    def _pair(self, name: str, value: str) -> None:
        self.output.line(f"  {self.output.paint('green', cell(name).ljust(12))} {cell(value)}".rstrip())

    def _part(self, title: str, text: str) -> None:
        self.output.line(f"\n  {self.output.paint('green', title)}\n")
        self.output.line(text.rstrip("\n"))


def _pretty(payload: bytes) -> str:
    """A payload in JSON with its lines indented, each value as it was written; other bytes as text that says so."""
    if not payload:
        return "(empty)"
    try:
        json_module.loads(payload)
        return msgspec.json.format(payload, indent=4).decode()
    except (ValueError, RecursionError):
        return f"(not JSON, {len(payload):,} bytes)\n{_shown(payload)}"


def _shown(data: bytes) -> str:
    """Bytes as text; those that are none as Python writes them, in hexadecimal digits."""
    return data.decode("utf-8", "backslashreplace")


def _fields(job: FailedJob) -> dict[str, Any]:
    """For programs: text as text, and other bytes in base64."""
    return {
        **fields_of(job),
        "origin": job.origin,
        "key": _told(job.key),
        "headers": [[name, _told(value)] for name, value in job.headers],
        "payload": _told(job.payload),
        "exception": job.exception,
    }


def _told(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
