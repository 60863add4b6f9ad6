"""The folder of payloads that are put aside."""

import os
import time
from pathlib import Path

import pytest

from lamplighter.errors import ClaimLost, Unavailable
from lamplighter.queue.claims.claims import Reference
from lamplighter.queue.claims.folder import FileClaims


@pytest.fixture
def claims(tmp_path: Path) -> FileClaims:
    """A folder that is made when it is needed."""
    return FileClaims(tmp_path / "deep" / "claims")


def files(claims: FileClaims) -> list[str]:
    """What is in the folder."""
    return sorted(path.name for path in claims.folder.iterdir())


def test_a_payload_comes_back_and_goes_when_it_is_done(claims: FileClaims) -> None:
    reference = claims.put(b"\x00\xff" * 1000)
    payload = claims.read(reference)

    claims.delete(reference)
    claims.delete(reference)

    assert payload == b"\x00\xff" * 1000
    assert files(claims) == []


@pytest.mark.parametrize("harm", [b"", b"y", b"xx"])
def test_another_payload_is_refused(claims: FileClaims, harm: bytes) -> None:
    reference = claims.put(b"x")
    (claims.folder / f"{reference.name}.claim").write_bytes(harm)

    with pytest.raises(ClaimLost, match="is not what was dispatched"):
        claims.read(reference)


def test_a_payload_that_is_gone_fails_its_job_and_a_folder_that_is_gone_waits(claims: FileClaims) -> None:
    reference = claims.put(b"x")
    claims.delete(reference)

    with pytest.raises(ClaimLost, match=r"not in .* any more"):
        claims.read(reference)
    claims.folder.rmdir()
    with pytest.raises(Unavailable, match="claim_check"):
        claims.read(reference)


def test_a_folder_that_can_not_be_written_refuses_the_push(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(Unavailable, match="can't be kept"):
        FileClaims(tmp_path / "file").put(b"x")


def test_pruning_takes_what_is_old_and_not_kept(claims: FileClaims) -> None:
    old, kept, new = (claims.put(text) for text in (b"old", b"kept", b"new"))
    (claims.folder / "crashed.draft").write_bytes(b"half")
    (claims.folder / "readme.txt").write_text("not ours")
    for name in (f"{old.name}.claim", f"{kept.name}.claim", "crashed.draft", "readme.txt"):
        os.utime(claims.folder / name, (time.time() - 7200,) * 2)

    count = claims.prune(hours=1, kept=lambda: {kept.name})

    assert count == 2
    assert files(claims) == sorted([f"{kept.name}.claim", f"{new.name}.claim", "readme.txt"])


def test_a_payload_that_is_needed_again_is_young_again(claims: FileClaims) -> None:
    reference = claims.put(b"x")
    os.utime(claims.folder / f"{reference.name}.claim", (time.time() - 7200,) * 2)

    claims.renew(reference)
    claims.renew(Reference("0" * 32, "0" * 64, 1))

    assert claims.prune(hours=1, kept=lambda: ()) == 0


def test_a_payload_that_is_needed_again_while_the_kept_ones_are_listed_stays(claims: FileClaims) -> None:
    read, failed = claims.put(b"read"), claims.put(b"failed")
    for reference in (read, failed):
        os.utime(claims.folder / f"{reference.name}.claim", (time.time() - 7200,) * 2)

    def kept() -> set[str]:
        claims.renew(read)  # by a worker that begins its job
        return {failed.name}  # whose job has failed since the pruning began

    assert claims.prune(hours=1, kept=kept) == 0
