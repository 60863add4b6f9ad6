"""librdkafka's own log lines, through `logging`, without their floods; and the one line about brokers that are away."""

import logging
import re
import time

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two lines of one facility, and between two about brokers that are away
RECENT = 3 * EVERY  # seconds in which what was told last still holds
# What librdkafka says of connections; in an outage it is what we have told already.
CONNECTIONS = frozenset({"FAIL", "ERROR", "SESSTMOUT", "REQTMOUT", "GETPID", "CONNECT", "METADATA"})
_REASON = re.compile(
    r"FAIL (?:\[[^]]*\] ?)*: (?P<reason>.*?)(?: \(after [^()]*\))?(?: \([^()]*suppressed\))?$", re.DOTALL
)
ADVICE = "see whether they run, and are what KAFKA_BROKERS says"


class Seldom(logging.Filter):
    """Lets one line of each of librdkafka's facilities pass every ten seconds, and none about an outage that is told.

    With a broker away it writes one for each connection that it tries, dozens a second. A single broker that is away
    while others answer is told by nobody else: such lines pass when it has failed for ten seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}
        self._reason = ""
        self._failing_since = self._failed_at = self._outage_at = -RECENT

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is written; the facility is the first word of the line."""
        text = record.getMessage()
        facility = text.partition(" ")[0]
        now = time.monotonic()
        if facility == "FAIL":
            self._note(text, now)
        if facility in CONNECTIONS and (now - self._outage_at < RECENT or now - self._failing_since < EVERY):
            return False
        return self._is_due(facility, now)

    def outage(self, brokers: str, reason: str) -> str | None:
        """Why the brokers can't be reached, where that is to be told now: what librdkafka has met last, if it has."""
        now = time.monotonic()
        self._outage_at = now
        if not self._is_due(f"outage {brokers}", now):
            return None
        return self._reason if now - self._failed_at < RECENT else reason

    def _note(self, text: str, now: float) -> None:
        if now - self._failed_at > RECENT:
            self._failing_since = now
        self._failed_at = now
        match = _REASON.match(text)
        self._reason = match["reason"] if match else text

    def _is_due(self, word: str, now: float) -> bool:
        if now - self._told.get(word, -EVERY) < EVERY:
            return False
        self._told[word] = now
        return True


def client_logger() -> logging.Logger:
    """The logger to hand to a client."""
    logger = logging.getLogger("lamplighter.kafka.librdkafka")
    _seldom(logger)
    return logger


def tell_outage(brokers: str, reason: str) -> None:
    """Say that the brokers are away and waited for, in one line every ten seconds, whichever clients have met it."""
    why = _seldom(logging.getLogger("lamplighter.kafka.librdkafka")).outage(brokers, reason)
    if why is not None:
        fields = {"brokers": brokers, "reason": why, "advice": ADVICE}
        log.warning("brokers can't be reached; waiting", extra=fields)


def _seldom(logger: logging.Logger) -> Seldom:
    found = next((known for known in logger.filters if isinstance(known, Seldom)), None)
    if found is None:
        found = Seldom()
        logger.addFilter(found)
    return found
