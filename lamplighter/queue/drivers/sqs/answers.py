"""What is looked for in an answer of SQS before anybody trusts it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]


class IncompleteError(Exception):
    """An answer says that all went well, and lacks what SQS says then."""


# What botocore ends with, too, where an answer has another shape than SQS's.
UNREADABLE = (IncompleteError, ResponseParserError, UnicodeDecodeError, AttributeError, TypeError, LookupError)
MEMBERS = {"send_message": ("MessageId",), "get_queue_url": ("QueueUrl",)}
OF_MESSAGES = ("MessageId", "ReceiptHandle", "Body")


def look_at_body(http_response: Any, model: Any, **_: Any) -> None:
    """Refuse a body that is no JSON object: botocore takes one that was cut, or another server's page, for `{}`.

    Raises:
        IncompleteError: it is none.
    """
    if http_response.status_code >= 300 or (model.output_shape is None and not http_response.content):
        return
    try:
        msgspec.json.decode(http_response.content, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise IncompleteError(f"its {len(http_response.content):,} bytes are no JSON object") from error


def look_at_members(operation: str, arguments: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Refuse an answer that does not say what has become of all that was asked.

    Raises:
        IncompleteError: it does not.
    """
    _need(MEMBERS.get(operation, ()), answer)
    for message in answer.get("Messages", ()):
        _need(OF_MESSAGES, message)
    if "Entries" not in arguments:
        return
    successful, failed = answer.get("Successful", ()), answer.get("Failed", ())
    if operation == "send_message_batch":
        for one in successful:
            _need(("MessageId",), one)
    told = {one["Id"] for one in (*successful, *failed)}
    missing = len({entry["Id"] for entry in arguments["Entries"]} - told)
    if missing:
        raise IncompleteError(f"it says nothing of {missing} of {len(arguments['Entries'])} entries")


def _need(names: tuple[str, ...], answer: Mapping[str, Any]) -> None:
    for name in names:
        if not answer.get(name):
            raise IncompleteError(f"it lacks {name}")
