"""Batches of messages, cut into what belongs together."""

from collections.abc import Iterator, Sequence

from lamplighter.kafka.settings.native import Message


def runs_and_errors(batch: Sequence[Message]) -> Iterator[Sequence[Message] | Message]:
    """The records of a batch in runs, and between them what is none: an error, or the end of a partition.

    The order stays. An end that the client told before records came is no end any more when these have been read: taken
    behind them it would say that the log has become shorter.
    """
    since = 0
    for at, message in enumerate(batch):
        if message.error() is not None:
            if since < at:
                yield batch[since:at]
            yield message
            since = at + 1
    if since < len(batch):
        yield batch[since:] if since else batch
