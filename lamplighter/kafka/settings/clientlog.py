"""librdkafka's own log lines, through `logging`, without their floods."""

import logging
import time

EVERY = 10.0  # seconds between two lines of one facility


class Seldom(logging.Filter):
    """Lets one line of each of librdkafka's facilities pass every ten seconds.

    With a broker away it writes one for each connection that it tries, dozens a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is written; the facility is the first word of the line."""
        facility = record.getMessage().partition(" ")[0]
        now = time.monotonic()
        if now - self._told.get(facility, -EVERY) < EVERY:
            return False
        self._told[facility] = now
        return True


def client_logger() -> logging.Logger:
    """The logger to hand to a client."""
    logger = logging.getLogger("lamplighter.kafka.librdkafka")
    if not any(isinstance(known, Seldom) for known in logger.filters):
        logger.addFilter(Seldom())
    return logger
