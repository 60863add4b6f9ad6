"""Why a worker may stop."""

from enum import Enum


class StopReason(Enum):
    """Why a worker stops, with its exit code; the first that holds, in this order, is the one."""

    INTERRUPTED = ("interrupted", 0)
    STALLED = ("stalled", 75)  # EX_TEMPFAIL of sysexits.h: another try may succeed
    MEMORY = ("memory", 12)
    RESTART_SIGNAL = ("restart_signal", 0)
    EMPTY = ("empty", 0)
    EMPTY_FOR = ("empty_for", 0)
    MAX_TIME = ("max_time", 0)
    MAX_JOBS = ("max_jobs", 0)
    TIMED_OUT = ("timed_out", 137)

    def __init__(self, reason: str, exit_code: int) -> None:
        self.reason = reason
        self.exit_code = exit_code
