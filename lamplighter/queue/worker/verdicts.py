"""What becomes of a job, as a value: decided in one place, done in another."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lamplighter.errors import LamplighterError


class ErrorElsewhere(LamplighterError):
    """An error of another process. Each has a class of its own, which is named as the error's class is there."""

    @classmethod
    def of(cls, module: str, name: str, text: str, trace: str = "") -> "ErrorElsewhere":
        """The error of a class, with its text; its trace is a note, which is shown wherever the error's own is."""
        error = _class_elsewhere(module, name)(text)
        if trace:
            error.add_note(trace)
        return error


@lru_cache(maxsize=100)
def _class_elsewhere(module: str, name: str) -> type[ErrorElsewhere]:
    return type(name.rpartition(".")[2], (ErrorElsewhere,), {"__module__": module, "__qualname__": name})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What has become of a job that was run elsewhere.

    Attributes:
        kind: `fail` is for a job that is recorded among the failed jobs, and `record` for one that is still to be;
            `hold` for one that waits for its record, since the store or its `failed()` refused; `again` for one of many
            whose call has failed.
        error: the job's own.
        refusal: why it could not be recorded.
    """

    kind: Literal["delete", "release", "fail", "record", "hold", "again"]
    delay: float = 0.0
    counted: bool = True
    error: BaseException | None = None
    refusal: Exception | None = None
