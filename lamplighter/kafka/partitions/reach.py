"""How far the jobs of a partition may begin: the broker is told an offset before a job at it begins."""

LEAST, MOST = 32, 5_000  # offsets that a commit announces beyond what is begun


class Reach:
    """The offset before which jobs may begin, since the broker has acknowledged a commit that announces it.

    The next owner starts each job below that offset carefully if this owner dies. So the distance is kept short: twice
    as far as jobs came between the last two commits, in this partition, or where its records have arrived in all.

    The thread that pops calls `may_begin`, `begin` and `want`; the polling thread calls `announce` and `acknowledge`.

    Attributes:
        begun: the offset behind the last job that was begun.
        wanted: the offset of a job that must wait for a commit before it begins; -1 where none has. Offsets have gaps,
            so it may lie far behind `begun`.
        told: no job at this offset or beyond may begin; -1 before the first commit of this owner.
        margin: how far beyond `begun` the last commit has announced.
    """

    __slots__ = ("_begun_then", "_counted", "begun", "margin", "told", "wanted")

    def __init__(self, offset: int) -> None:
        self.begun = self._begun_then = self._counted = offset
        self.wanted = -1
        self.told = -1
        self.margin = LEAST

    # the thread that pops ──────────────────────────────────────────────────────────────────────────────────────────

    def may_begin(self, offset: int) -> bool:
        """Whether the broker knows that a job at this offset may have begun."""
        return offset < self.told

    def want(self, offset: int) -> None:
        """A job at this offset is next, and must wait: the next commit has to announce it."""
        self.wanted = offset

    def begin(self, end: int) -> None:
        """Jobs begin, the last of them just before the offset `end`."""
        self.begun = max(self.begun, end)

    @property
    def is_short(self) -> bool:
        """Whether a further commit should be made soon, so that no job has to wait for one."""
        return self.told - self.begun < self.margin // 2

    # the polling thread ────────────────────────────────────────────────────────────────────────────────────────────

    def count(self) -> int:
        """How many offsets were begun since this was asked before."""
        before, self._counted = self._counted, self.begun
        return self._counted - before

    def announce(self, *, arrived: int = -1, pace: int = 0) -> int:
        """The offset that the next commit announces; the same as before while that is far enough.

        Args:
            arrived: the offset behind the last record that is here.
            pace: how many jobs of it the worker may begin until the next commit, if it works this partition alone.
        """
        begun, wanted = self.begun, self.wanted
        if wanted < self.told and not self.is_short:
            return self.told
        self.margin = min(MOST, max(LEAST, 2 * (begun - self._begun_then), min(pace, 2 * (arrived - begun))))
        self._begun_then = begun
        return max(begun, wanted) + self.margin

    def acknowledge(self, told: int) -> None:
        """The broker has a commit that announces this offset."""
        self.told = max(self.told, told)
