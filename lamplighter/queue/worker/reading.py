"""A delivery becomes a job, or is settled at once, since it can't be run."""

from lamplighter.errors import AlreadyDone, JobFailed, MaxAttemptsExceeded, PayloadError
from lamplighter.queue.failed.trace import tellable
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling


class Reading:
    """Makes jobs of deliveries."""

    def __init__(self, runner: Runner, settling: Settling) -> None:
        self._runner = runner
        self._settling = settling

    def read(self, start: Start) -> bool:
        """Make the job; False when the delivery is settled already, since it can't be run."""
        failure = start.delivery.failure
        if failure is not None:
            start.attempts -= 1  # it comes back to be recorded, not to be started
        try:
            self._runner.read(start)
            # Its first start is always allowed.
            if start.attempts > 1 and failure is None and not _may_start(start):
                start.attempts -= 1  # it is not started once more
                raise MaxAttemptsExceeded(_too_often(start))
        except (PayloadError, JobFailed) as error:
            self._settling.fail(start, error if failure is None else failure)
            return False
        except AlreadyDone:
            self._settling.pass_over(start)
            return False
        except BaseException as error:
            if start.entry is None and not isinstance(error, Exception):
                raise  # nothing of the application's has run yet
            self._settling.settle(start, tellable(error), 0.0)
            return False
        if failure is not None:
            self._settling.fail(start, failure)
        return failure is None


def _may_start(start: Start) -> bool:
    return start.policy.may_start(start.attempts, has_crashed=start.delivery.has_crashed)


def _too_often(start: Start) -> str:
    times = "once" if start.attempts == 1 else f"{start.attempts} times"
    how = f"{times} without coming to an end"
    if start.delivery.has_crashed:
        # The first start that a worker has died of may have left no mark.
        how = f"at least {how}, and its worker died under it"
    return f"{start.name} has been started {how}; its tries are {start.policy.tries}."
