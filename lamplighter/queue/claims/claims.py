"""Claims on payloads that are too large for their queue, as messages bear them, and who reads them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from lamplighter.contracts import DriverDelivery, Headers
from lamplighter.errors import ClaimLost, UnreadablePayload
from lamplighter.queue.jobs.payload import CLAIM_JOB, read

HEADER = "x-claim"
FIELD = "claim"  # of the data of a payload that is kept elsewhere, where no header travels
MARK = b'"%b"' % CLAIM_JOB.encode()
HEADER_BYTES = 128  # that the header with its value takes in a message at most
REFERENCE = re.compile(r"file:(?P<name>[0-9a-f]{32}):(?P<digest>[0-9a-f]{64}):(?P<size>\d{1,12})")

ReadClaim = Callable[[DriverDelivery], bytes]


@dataclass(frozen=True, slots=True)
class Reference:
    """What names a payload in the folder, and proves that it is this one."""

    name: str
    digest: str
    size: int

    def __str__(self) -> str:
        return f"file:{self.name}:{self.digest}:{self.size}"


def reference_from(headers: Headers, payload: bytes) -> Reference | None:
    """What a message names, by its header or by its payload."""
    return reference_in(headers) or reference_of(payload)


def reference_in(headers: Headers) -> Reference | None:
    """What the claim header names, the last one; None where there is none, or it is none of ours."""
    for name, value in reversed(list(headers)):
        if name == HEADER:
            found = REFERENCE.fullmatch((value or b"").decode("utf-8", "replace"))
            return Reference(found["name"], found["digest"], int(found["size"])) if found else None
    return None


def reference_of(payload: bytes) -> Reference | None:
    """What a small payload itself names; None where it names nothing, or none of ours."""
    if MARK not in payload:
        return None
    try:
        envelope = read(payload)
        data = envelope.data if envelope.job == CLAIM_JOB else None
    except UnreadablePayload:
        return None
    value = data.get(FIELD) if isinstance(data, dict) else None
    return reference_in([(HEADER, value.encode("utf-8", "replace"))]) if isinstance(value, str) else None


def envelope_of(payload: bytes, reference: Reference | None = None) -> bytes:
    """The small payload that travels: all that the large one says, but for its job and its data.

    The data name what is kept, where no header does.

    Raises:
        msgspec.DecodeError: it is no JSON object, or nested deeper than it can be read.
    """
    try:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except RecursionError as error:
        raise msgspec.DecodeError(str(error)) from error
    data = msgspec.json.encode(None if reference is None else {FIELD: str(reference)})
    small = {**fields, "job": msgspec.Raw(msgspec.json.encode(CLAIM_JOB)), "data": msgspec.Raw(data)}
    return msgspec.json.encode(small)


def refuse_claim(delivery: DriverDelivery) -> bytes:
    """There are no claims here: poison must not wait for any."""
    raise ClaimLost(
        f"The payload says that it is kept elsewhere, and the connection {delivery.connection!r} has no claim_check; "
        f"give it the one that its dispatchers have, and retry the job."
    )
