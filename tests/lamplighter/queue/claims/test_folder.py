"""The folder of payloads that are put aside."""

import os
import time
from pathlib import Path

import pytest

from lamplighter.errors import AlreadyDone, ClaimLost, Unavailable
from lamplighter.queue.claims.claims import Reference
from lamplighter.queue.claims.folder import Claim, FileClaims, Pruned

PAYLOAD = b"\x00\xff" * 1000


@pytest.fixture
def claims(tmp_path: Path) -> FileClaims:
    """A folder that is made when it is needed."""
    return FileClaims(tmp_path / "deep" / "claims")


def put(claims: FileClaims, payload: bytes = PAYLOAD, *, job: str = "a" * 32) -> Claim:
    """Put a payload aside; the claim of a job on it."""
    return Claim(claims.put(payload), job)


def files(claims: FileClaims) -> dict[str, int]:
    """The sizes of what is in the folder."""
    return {path.name: path.stat().st_size for path in claims.folder.iterdir()}


def make_old(claims: FileClaims, *names: str) -> None:
    """Let these files be two hours old."""
    for name in names:
        os.utime(claims.folder / name, (time.time() - 7200,) * 2)


# one payload ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payload_comes_back_as_often_as_it_is_read(claims: FileClaims) -> None:
    claim = put(claims)

    assert [claims.read(claim), claims.read(claim)] == [PAYLOAD, PAYLOAD]


def test_when_its_job_is_done_whoever_reads_it_is_told(claims: FileClaims) -> None:
    claim = put(claims)

    claims.finish(claim)

    with pytest.raises(AlreadyDone):
        claims.read(claim)
    assert sum(files(claims).values()) == len(PAYLOAD)


def test_the_space_of_what_is_done_is_given_back_and_the_word_stays(claims: FileClaims) -> None:
    done, other = put(claims), put(claims)
    claims.finish(done)

    claims.give_back([done])

    with pytest.raises(AlreadyDone):
        claims.read(done)
    assert claims.read(other) == PAYLOAD
    assert sorted(files(claims).values()) == [0, len(PAYLOAD)]


def test_a_job_that_is_done_twice_at_the_same_time_is_done(claims: FileClaims) -> None:
    claim = put(claims)

    for _ in range(2):
        claims.finish(claim)
        claims.give_back([claim])

    with pytest.raises(AlreadyDone):
        claims.read(claim)
    assert list(files(claims).values()) == [0]


def test_a_job_that_is_done_though_its_payload_was_pruned_meanwhile_is_done(claims: FileClaims) -> None:
    claim = put(claims)
    (claims.folder / f"{claim.reference.name}.claim").unlink()

    claims.finish(claim)

    with pytest.raises(AlreadyDone):
        claims.read(claim)


def test_what_is_done_for_one_job_is_not_done_for_another_with_the_same_payload(claims: FileClaims) -> None:
    claim = put(claims)
    other = Claim(claim.reference, "b" * 32)

    claims.finish(claim)

    with pytest.raises(ClaimLost, match="another group, queue or key"):
        claims.read(other)


def test_a_payload_that_is_given_back_while_it_is_read_is_not_lost(
    claims: FileClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = put(claims)

    def read_late(path: Path) -> bytes:
        with path.open("rb") as file:
            claims.finish(claim)
            claims.give_back([claim])
            return file.read()

    monkeypatch.setattr("lamplighter.queue.claims.folder.read_file", read_late)

    with pytest.raises(AlreadyDone):
        claims.read(claim)
    assert (claims.folder / f"{claim.reference.name}.{claim.job}.done").read_bytes() == b""


def test_no_payload_goes_from_the_disk_before_the_word_that_its_job_is_done_is_there(
    claims: FileClaims, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = put(claims)
    claims.finish(claim)

    def refuse(handle: int) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(os, "fsync", refuse)

    with pytest.raises(OSError, match="the disk is gone"):
        claims.give_back([claim])
    assert list(files(claims).values()) == [len(PAYLOAD)]


@pytest.mark.parametrize("harm", [b"", b"y", b"xx"])
def test_another_payload_is_refused(claims: FileClaims, harm: bytes) -> None:
    claim = put(claims, b"x")
    (claims.folder / f"{claim.reference.name}.claim").write_bytes(harm)

    with pytest.raises(ClaimLost, match="is not what was dispatched"):
        claims.read(claim)


def test_a_payload_that_is_gone_fails_its_job_and_a_folder_that_is_gone_waits(claims: FileClaims) -> None:
    claim = put(claims)
    (claims.folder / f"{claim.reference.name}.claim").unlink()

    with pytest.raises(ClaimLost, match=r"not in .* any more"):
        claims.read(claim)
    claims.folder.rmdir()
    with pytest.raises(Unavailable, match="claim_check"):
        claims.read(claim)


def test_a_folder_that_is_gone_when_a_job_is_done_is_told(claims: FileClaims) -> None:
    claim = Claim(Reference("0" * 32, "0" * 64, 1), "a" * 32)

    with pytest.raises(OSError, match="No such file"):
        claims.finish(claim)


def test_a_folder_that_can_not_be_written_refuses_the_push(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(Unavailable, match="can't be kept"):
        FileClaims(tmp_path / "file").put(b"x")


# pruning ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pruning_takes_what_is_old_and_not_kept(claims: FileClaims) -> None:
    old, kept, new = (put(claims, text) for text in (b"old", b"kept", b"new"))
    (claims.folder / "crashed.draft").write_bytes(b"half")
    (claims.folder / "readme.txt").write_text("not ours")
    names = [f"{claim.reference.name}.claim" for claim in (old, kept, new)]
    make_old(claims, *names[:2], "crashed.draft", "readme.txt")

    pruned = claims.prune(hours=1, kept=lambda: {kept.reference.name})

    assert pruned == Pruned(payloads=2, done=0)
    assert sorted(files(claims)) == sorted([*names[1:], "readme.txt"])


def test_what_is_done_is_forgotten_when_it_is_old_unless_a_failed_job_claims_it(claims: FileClaims) -> None:
    done = [put(claims) for _ in range(3)]
    for claim in done:
        claims.finish(claim)
    claims.give_back(done)
    old, kept, new = (f"{claim.reference.name}.{claim.job}.done" for claim in done)
    make_old(claims, old, kept)

    pruned = claims.prune(hours=1, kept=lambda: {done[1].reference.name})

    assert pruned == Pruned(payloads=0, done=1)
    assert sorted(files(claims)) == sorted([kept, new])


def test_pruning_gives_back_what_a_worker_has_died_with_and_the_word_is_young(claims: FileClaims) -> None:
    claim = put(claims)
    make_old(claims, f"{claim.reference.name}.claim")
    claims.finish(claim)

    pruned = [claims.prune(hours=1, kept=lambda: ()) for _ in range(2)]

    assert pruned == [Pruned(0, 0)] * 2
    assert list(files(claims).values()) == [0]


def test_what_is_needed_again_is_young_again(claims: FileClaims) -> None:
    waiting, done = put(claims), put(claims)
    claims.finish(done)
    claims.give_back([done])
    make_old(claims, *files(claims))

    for claim in (waiting, done, Claim(Reference("0" * 32, "0" * 64, 1), "a" * 32)):
        claims.renew(claim)

    assert claims.prune(hours=1, kept=lambda: ()) == Pruned(0, 0)


def test_a_payload_that_is_needed_again_while_the_kept_ones_are_listed_stays(claims: FileClaims) -> None:
    read, failed = put(claims, b"read"), put(claims, b"failed")
    make_old(claims, *files(claims))

    def kept() -> set[str]:
        claims.renew(read)  # by a worker that begins its job
        return {failed.reference.name}  # whose job has failed since the pruning began

    assert claims.prune(hours=1, kept=kept) == Pruned(0, 0)


def test_there_is_nothing_to_prune_where_nothing_was_put_aside(claims: FileClaims) -> None:
    assert claims.prune(hours=0, kept=lambda: ()) == Pruned(0, 0)
