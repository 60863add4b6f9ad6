"""What one owner of a partition tells the next, in the metadata of its commits."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

PREFIX = "L2."
MAX_RAW = 2_200  # bytes; base64 makes 2,934 characters of them, and the broker's limit is 4,095
MARK = 14  # bytes of one at most
COUNT, FAILURE = 3, 12  # bytes of a number of failures, and of one failure beside its text, at most
TIME = 6  # bytes of a time
MOST_TEXT = 400  # bytes of what a job has failed with
MOST = 2**63 - 1  # of an offset, a time or a count
CLEAN = 1
IN_HAND, HAS_DUE, HAS_CRASHED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one unfinished job.

    Attributes:
        retries: how often it was started, this time included where it is in hand.
        due: when it may run again, in milliseconds since 1970; 0 is at once.
        in_hand: it was started carefully, and had not come to an end when this was written.
        has_crashed: an earlier owner died while it was in hand.
        failure: what it has failed with, while that is still to be recorded; blank where there was no room for it.
    """

    retries: int
    due: int = 0
    in_hand: bool = False
    has_crashed: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """How far an owner has come beyond the committed offset, and how it left.

    Attributes:
        reach: no job at this offset or beyond was begun.
        is_clean: the owner left in order, with nothing unfinished of what it had to work carefully itself.
        frontier: what lies below it and is not in `unfinished` is done.
        unfinished: offsets from the committed one up to the frontier.
        marks: what is known of some of these.
        read_ms: when the last record was written that was read by then, in milliseconds since 1970; -1 is unknown.
    """

    reach: int = 0
    is_clean: bool = True
    frontier: int = 0
    unfinished: Sequence[int] = ()
    marks: Mapping[int, Mark] = field(default_factory=dict)
    read_ms: int = -1

    def encode(self, position: int) -> str:
        """The text for a commit at `position`: ASCII, since the limit counts UTF-16 units and NUL is refused."""
        raw = bytearray([CLEAN if self.is_clean else 0])
        _put(raw, max(0, self.reach - position))
        frontier = max(self.frontier, position)
        _put(raw, frontier - position)
        _put(raw, len(self.unfinished))
        _put_rising(raw, self.unfinished, position)
        end = len(raw)
        marks = self.marks
        _put_marks(raw, marks, position)
        if len(raw) > MAX_RAW:
            # All slots may fail at once. Metadata that are refused would tell nothing at all.
            del raw[end:]
            marks = _most_needed(marks, MAX_RAW - end)
            _put_marks(raw, marks, position)
        _put_failures(raw, marks, position, is_last=self.read_ms < 0)
        if self.read_ms >= 0:
            _put(raw, self.read_ms)
        return PREFIX + base64.b64encode(bytes(raw)).decode().rstrip("=")

    @classmethod
    def decode(cls, metadata: str | None, position: int) -> "OffsetMap | None":
        """What such a text says; None where another client has written something else."""
        if not metadata or not metadata.startswith(PREFIX) or position < 0:
            return None
        text = metadata.removeprefix(PREFIX)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            return _read(raw, position)
        except (binascii.Error, IndexError, ValueError):
            return None


def fits(unfinished: int, span: int, marks: int) -> bool:
    """Whether so many unfinished offsets over so long a span, with so many marks, are sure to have room."""
    # A difference d takes at most 1 + d/128 bytes.
    return unfinished + span // 128 + MARK * marks + 32 <= MAX_RAW


def _put(raw: bytearray, number: int) -> None:
    """Add a number, seven bits a byte, the lowest first (LEB128)."""
    while number > 0x7F:
        raw.append(number & 0x7F | 0x80)
        number >>= 7
    raw.append(number)


def _put_marks(raw: bytearray, marks: Mapping[int, Mark], at: int) -> None:
    _put(raw, len(marks))
    for offset in sorted(marks):
        mark = marks[offset]
        _put(raw, offset - at)
        at = offset
        _put(raw, mark.retries)
        raw.append(
            (IN_HAND if mark.in_hand else 0) | (HAS_DUE if mark.due else 0) | (HAS_CRASHED if mark.has_crashed else 0)
        )
        if mark.due:
            _put(raw, mark.due)


def _put_failures(raw: bytearray, marks: Mapping[int, Mark], at: int, *, is_last: bool) -> None:
    """Which jobs have failed, and with what, as far as it fits; behind what the first versions read."""
    failed = [offset for offset in sorted(marks) if marks[offset].failure is not None]
    # Room for the number of them, and for each one's offset and the length of its text.
    failed = failed[: max(0, MAX_RAW - len(raw) - COUNT - TIME) // FAILURE]
    if not failed:
        if not is_last:
            _put(raw, 0)
        return
    room = (MAX_RAW - len(raw) - COUNT - TIME - FAILURE * len(failed)) // len(failed)
    _put(raw, len(failed))
    for offset in failed:
        text = (marks[offset].failure or "").encode("utf-8", "backslashreplace")
        text = text[: min(room, MOST_TEXT)].decode("utf-8", "ignore").encode()
        _put(raw, offset - at)
        at = offset
        _put(raw, len(text))
        raw += text


def _most_needed(marks: Mapping[int, Mark], room: int) -> dict[int, Mark]:
    """As many as have room: first what may kill its owner, then what holds the commit back."""
    first = sorted(marks, key=lambda offset: (not (marks[offset].in_hand or marks[offset].has_crashed), offset))
    return {offset: marks[offset] for offset in first[: max(1, room // MARK)]}


def _put_rising(raw: bytearray, numbers: Sequence[int], at: int) -> None:
    for number in numbers:
        _put(raw, number - at)
        at = number


def _read(raw: bytes, position: int) -> OffsetMap:
    place = 1

    def take() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = raw[place]
            place += 1
            number |= (byte & 0x7F) << shift
            if number > MOST:
                raise ValueError(number)  # no owner has written that
            if byte < 0x80:
                return number
            shift += 7

    reach, frontier = position + take(), position + take()
    unfinished = _rising(take, position)
    marks: dict[int, Mark] = {}
    at = position
    for _ in range(take()):
        at += take()
        retries = take()
        flags = raw[place]
        place += 1
        due = take() if flags & HAS_DUE else 0
        marks[at] = Mark(retries, due, bool(flags & IN_HAND), bool(flags & HAS_CRASHED))
    at = position
    for _ in range(take() if place < len(raw) else 0):
        at += take()
        size = take()
        text = raw[place : place + size].decode("utf-8", "replace")
        place += size
        if at in marks:
            marks[at] = replace(marks[at], failure=text)
    read_ms = take() if place < len(raw) else -1
    return OffsetMap(reach, bool(raw[0] & CLEAN), frontier, unfinished, marks, read_ms)


def _rising(take: Callable[[], int], at: int) -> tuple[int, ...]:
    numbers = []
    for _ in range(take()):
        at += take()
        numbers.append(at)
    return tuple(numbers)
