"""How a log record becomes a line."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from lamplighter.logging.context import job_fields
from lamplighter.support.foreign import path_of, text_of

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


class TraceFormatter(logging.Formatter):
    """Traces as Python writes them; a line for an error whose class refuses to be looked at."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 — the name is the standard library's
        """The trace of an error."""
        try:
            return super().formatException(ei)
        except Exception:  # the record is worth more than its trace
            return f"{'.'.join(path_of(ei[1]))}: {text_of(ei[1])}"


class LineFormatter(TraceFormatter):
    """`2026-11-24 12:00:00 WARNING lamplighter.kafka: brokers are away brokers=localhost:9092`."""

    default_msec_format = None

    def format(self, record: logging.LogRecord) -> str:
        """One line; the trace and the stack, if there are any, below it."""
        stamp = datetime.fromtimestamp(record.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        words = [stamp, record.levelname, f"{record.name}:", record.getMessage()]
        words += [f"{key}={_quoted(value)}" for key, value in fields_of(record).items()]
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return "\n".join(part for part in (" ".join(words), trace, record.stack_info) if part)


class JsonFormatter(TraceFormatter):
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
