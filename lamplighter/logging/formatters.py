"""How a log record becomes a line."""

import json
import logging
from datetime import UTC, datetime

from lamplighter.logging.context import job_fields

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS = frozenset({"timestamp", "level", "logger", "exception", "stack"})


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields of a record: the job in hand, then what was given as `extra`, which hides neither it nor ours."""
    fields = job_fields()
    for key, value in vars(record).items():
        if key in _STANDARD:
            continue
        taken = key in _OURS or (key in fields and str(fields[key]) != str(value))
        fields[f"extra_{key}" if taken else key] = value
    return fields


class LineFormatter(logging.Formatter):
    """`2026-11-24 12:00:00 WARNING lamplighter.kafka: brokers are away brokers=localhost:9092`."""

    default_msec_format = None

    def format(self, record: logging.LogRecord) -> str:
        """One line; the trace and the stack, if there are any, below it."""
        stamp = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        words = [stamp, record.levelname, f"{record.name}:", record.getMessage()]
        words += [f"{key}={_quoted(value)}" for key, value in fields_of(record).items()]
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join(part for part in (" ".join(words), trace, record.stack_info) if part)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, its fields and its trace."""
        fields = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return _json(fields)


def _json(fields: dict[str, object]) -> str:
    try:
        return json.dumps(fields, ensure_ascii=False, default=str, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        # A key that is no text, a circle, or NaN, which is no JSON: the record is worth more than its shape.
        plain = {key: value if isinstance(value, int | str | None) else str(value) for key, value in fields.items()}
        return json.dumps(plain, ensure_ascii=False)


def _quoted(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(c in text for c in ' "='):
        return text
    # A terminal obeys some characters that JSON takes as they are.
    return json.dumps(text, ensure_ascii=not all(c.isprintable() or c in "\n\r\t" for c in text))
