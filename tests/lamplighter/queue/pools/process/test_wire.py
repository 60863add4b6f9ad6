"""What a worker and its slots say to each other."""

import pytest

from lamplighter.queue.pools.process.wire import (
    Ended,
    Error,
    Failing,
    Frames,
    FromSlot,
    Ready,
    Recorded,
    Run,
    RunMany,
    Stop,
    ToSlot,
    frame,
    from_slot,
    to_slot,
)

RUN = Run(7, b"\x00payload", None, [("a", b"1"), ("b", None)], "store", "kafka", "store[0]@3", None, 1, True, 2)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_messages_arrive_whole_however_they_are_cut(size: int) -> None:
    sent: list[ToSlot] = [RUN, RunMany([RUN, RUN]), Stop()]
    data = b"".join(map(frame, sent))
    frames = Frames()

    bodies = [body for at in range(0, len(data), size) for body in frames.feed(data[at : at + size])]

    assert [to_slot.decode(body) for body in bodies] == sent


def test_a_slot_says_what_has_become_of_its_jobs() -> None:
    error = Error("builtins", "ValueError", "no", "Traceback")
    sent: list[FromSlot] = [Ready(1), Failing(7, error), Recorded(7), Ended(7, "release", 2.5, False, error)]

    bodies = Frames().feed(b"".join(map(frame, sent)))

    assert [from_slot.decode(body) for body in bodies] == sent
