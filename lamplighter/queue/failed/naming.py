"""What a failed job is called: its id, and the name of its job."""

import base64
import json
import re
import uuid as uuids

NAMESPACE = uuids.UUID("6c616d70-6c69-5768-8465-720000000001")
# What can be typed behind `queue:retry`: no spaces, no option, and not its word for every job.
AN_ID = re.compile(r"(?!all\Z)[0-9A-Za-z_][0-9A-Za-z_.:-]{0,35}")
MAX_NAME = 255


def own_id(connection: str, queue: str, origin: str, timestamp_ms: int | None, payload: bytes) -> str:
    """An id that the same message always has, and no other; a topic that was made anew has other messages."""
    digest = base64.b16encode(uuids.uuid5(NAMESPACE, payload.hex()).bytes).decode()
    return str(uuids.uuid5(NAMESPACE, json.dumps([connection, queue, origin, timestamp_ms, digest])))


def chosen_id(uuid: str | None, own: str) -> str:
    """The uuid of the payload where it can be an id, else the message's own."""
    return uuid if uuid and AN_ID.fullmatch(uuid) else own


def has_id(payload: bytes) -> bool:
    """Whether a payload has a uuid or an id, so that no other message has the same bytes."""
    try:
        fields = json.loads(payload)
        return bool(fields.get("uuid") or fields.get("id"))
    except (ValueError, AttributeError, RecursionError):
        return False


def name_of(payload: bytes) -> str:
    """The job's name as the payload has it, made fit for a screen: anyone may have written it."""
    try:
        fields = json.loads(payload)
        name = str(fields.get("displayName") or fields.get("job") or "unknown")
    except (ValueError, AttributeError, RecursionError):
        return "unreadable payload"
    return "".join(letter if letter.isprintable() else "?" for letter in name[:MAX_NAME])
