"""Looks for an answer for a moment before its thread sleeps until it comes.

A thread that sleeps runs again 20 to 40 µs after its answer came, where processors rest meanwhile as they do on virtual
machines; a server on the same host answers in less. A push to Redis takes 40 µs by looking and 64 µs by sleeping there,
for 10 µs more of processor time.

It is otherwise where the server is far, or needs the processor that looks for its answer, or another thread of the
process computes, which has its turn between two looks. So nothing is presumed: now and then some calls are made in each
way, and the cheaper one is kept.
"""

import select
import time
from socket import socket

LONGEST = 0.00008  # seconds that an answer is looked for: one that takes longer is not worth the processor time
TRIES = 40  # calls in each way that are compared
FIRST = 8  # of them do not count: the machine gets used to the other way, such as which processor the server runs on
KEPT = 1000  # calls until they are compared again; twice as many each time that sleeping is kept once more
LONGEST_KEPT = 8 * KEPT
LATE = 8  # answers in a row that were looked for in vain: they are compared at once
MOST = 0.0005  # seconds that count of one call: one that the machine has held up decides nothing
WEIGHT = 0.5  # of a second of processor time beside one that passes
GAIN = 0.95  # of what sleeping costs: looking has to cost less


class Looking:
    """Looks for answers on one socket, for one thread at a time.

    It only looks, so that nothing depends on what it sees: TLS may have read the answer already, or what can be read
    may be only a part of it.

    Attributes:
        is_trying: both ways are compared now.
    """

    __slots__ = ("_began", "_costs", "_keep", "_kept", "_late", "_looks", "_poll", "_tried", "is_trying")

    def __init__(self, link: socket) -> None:
        poll = select.poll()
        poll.register(link, select.POLLIN)
        self._poll = poll.poll
        self._looks = True
        self._keep = KEPT
        self._kept = self._tried = self._late = 0
        self._costs = [0.0, 0.0]  # of calls that slept, and of those that looked
        self._began = 0.0, 0.0
        self.is_trying = True

    def is_quiet(self) -> bool:
        """Whether there is nothing to read, nor has the other side closed."""
        return not self._poll(0)

    def begin(self) -> None:
        """Something is going to be asked. This is needed only while both ways are compared."""
        self._began = time.monotonic(), time.thread_time()

    def look(self) -> None:
        """Return when there is something to read, it has been looked for long enough, or sleeping is better here."""
        if not self._looks:
            return
        poll, clock = self._poll, time.monotonic
        until = clock() + LONGEST
        while not poll(0):
            if clock() >= until:
                self._late += 1
                return
        self._late = 0

    def end(self) -> None:
        """The answer is there."""
        if self.is_trying:
            self._compare()
            return
        self._kept -= 1
        if not self._kept or self._late >= LATE:
            self._try_anew()

    def _compare(self) -> None:
        wall, processor = time.monotonic() - self._began[0], time.thread_time() - self._began[1]
        if self._tried % TRIES >= FIRST:
            self._costs[self._looks] += min(wall, MOST) + min(processor, MOST) * WEIGHT
        self._tried += 1
        if self._tried == TRIES:
            self._looks = not self._looks
        elif self._tried == 2 * TRIES:
            slept, looked = self._costs
            self._looks = looked < slept * GAIN
            self._kept = KEPT if self._looks else self._keep
            self._keep = KEPT if self._looks else min(2 * self._kept, LONGEST_KEPT)
            self.is_trying = False

    def _try_anew(self) -> None:
        self.is_trying = True
        self._tried = self._late = 0
        self._costs = [0.0, 0.0]
