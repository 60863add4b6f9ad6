"""A message as SQS carries it, and back."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from lamplighter.contracts import Headers, Message
from lamplighter.errors import QueueError

KEY = "lamplighter-key"
# Given to jobs that came from a FIFO queue: what is pushed again with it, as by queue:retry, is another message to SQS.
SENT_AS = "lamplighter-deduplication-id"
MOST_ATTRIBUTES = 10
NAME = re.compile(r"(?!(?:aws|amazon)\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
# XML 1.0, section 2.2, of which SQS takes the characters.
UNCARRIED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
GROUP = re.compile(r"[!-~]{1,128}")


def entry_of(message: Message, *, queue: str, is_fifo: bool, delay: int) -> dict[str, Any]:
    """The arguments of `send_message`.

    Raises:
        QueueError: SQS can't carry the payload, or a header.
    """
    entry: dict[str, Any] = {"MessageBody": body_of(message.payload)}
    headers = [(name, value) for name, value in message.headers if name != SENT_AS]
    attributes = _attributes(message.key, headers)
    if attributes:
        entry["MessageAttributes"] = attributes
    if is_fifo:
        entry["MessageGroupId"] = _group(message.key, queue)
        was_sent = len(headers) < len(message.headers)
        entry["MessageDeduplicationId"] = secrets.token_hex(16) if was_sent else _identity(message.payload)
    elif delay:
        entry["DelaySeconds"] = delay
    return entry


def body_of(payload: bytes) -> str:
    """The payload as text; within JSON, what SQS does not carry is escaped.

    Raises:
        QueueError: it is empty, no UTF-8, or has characters that SQS does not carry.
    """
    if not payload:
        raise QueueError("SQS carries no empty message.")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise QueueError("SQS carries text, and the payload is no UTF-8. Encode its data, as in base64.") from error
    found = UNCARRIED.search(text)
    if found is None:
        return text
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        raise QueueError(
            f"SQS does not carry the character U+{ord(found[0]):04X}, which the payload has (only those of XML 1.0)."
        ) from None
    # Such characters stand in strings only, where JSON has another spelling for them.
    return UNCARRIED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def size_of(entry: Mapping[str, Any]) -> int:
    """Its bytes, as SQS counts them: the body and the names, types and values of its attributes."""
    size = len(entry["MessageBody"].encode())
    for name, attribute in entry.get("MessageAttributes", {}).items():
        value = attribute.get("BinaryValue") or attribute.get("StringValue", "").encode()
        size += len(name) + len(attribute["DataType"]) + len(value)
    return size


def key_of(received: Mapping[str, Any], queue: str) -> bytes | None:
    """The message's key; of a message that others have put into a FIFO queue, its group."""
    attribute = received.get("MessageAttributes", {}).get(KEY)
    if attribute is not None:
        return _value(attribute)
    group = received.get("Attributes", {}).get("MessageGroupId")
    return None if group is None or str(group) == _group(None, queue) else str(group).encode()


def headers_of(received: Mapping[str, Any]) -> Headers:
    """The other attributes, by their names."""
    attributes = received.get("MessageAttributes", {})
    headers = tuple((name, _value(attributes[name])) for name in sorted(attributes) if name != KEY)
    sent_as = received.get("Attributes", {}).get("MessageDeduplicationId")
    return headers if sent_as is None else (*headers, (SENT_AS, str(sent_as).encode()))


def _attributes(key: bytes | None, headers: Headers) -> dict[str, Any]:
    if key == b"":
        raise QueueError("SQS carries no empty key. Let it be text, bytes, or None for a job without one.")
    attributes = {} if key is None else {KEY: _attribute(key)}
    for name, value in headers:
        if not NAME.fullmatch(name) or len(name) > 256 or name in attributes:
            raise QueueError(
                f"SQS carries no header {name!r}: each name stands once, and has letters, digits, - _ and dots between."
            )
        if not value:
            raise QueueError(f"SQS carries no header without a value, as {name!r} is.")
        attributes[name] = _attribute(value)
    if len(attributes) > MOST_ATTRIBUTES:
        raise QueueError(f"SQS carries {MOST_ATTRIBUTES} attributes: the key and {MOST_ATTRIBUTES - 1} headers.")
    return attributes


def _attribute(value: bytes) -> dict[str, Any]:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"DataType": "Binary", "BinaryValue": value}
    if UNCARRIED.search(text):
        return {"DataType": "Binary", "BinaryValue": value}
    return {"DataType": "String", "StringValue": text}


def _value(attribute: Mapping[str, Any]) -> bytes:
    binary = attribute.get("BinaryValue")
    return bytes(binary) if binary is not None else str(attribute.get("StringValue", "")).encode()


def _group(key: bytes | None, queue: str) -> str:
    """The key, where SQS takes it as a group; jobs without one are in order among themselves, as Laravel's."""
    if key is None:
        return queue if GROUP.fullmatch(queue) else hashlib.sha256(queue.encode()).hexdigest()
    text = key.decode("latin-1")
    return text if GROUP.fullmatch(text) else hashlib.sha256(key).hexdigest()


def _identity(payload: bytes) -> str:
    """The payload's uuid; what has none is known by its bytes."""
    try:
        uuid = msgspec.json.decode(payload, type=dict[str, Any]).get("uuid")
    except (msgspec.DecodeError, RecursionError):
        uuid = None
    return uuid if isinstance(uuid, str) and GROUP.fullmatch(uuid) else hashlib.sha256(payload).hexdigest()
