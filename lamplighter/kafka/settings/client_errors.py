"""What errors of Kafka's clients mean for us; librdkafka's own `retriable()` says nothing useful about these."""

from enum import Enum

from lamplighter.kafka.settings.native import KafkaError


class Verdict(Enum):
    """What to do about a commit that was refused."""

    NOT_OURS = "ownership is gone or moving: try again after the next poll, if the partition is still assigned"
    WAIT = "the coordinator is away: try again later"
    METADATA = "the metadata is refused: commit the bare offsets"
    FATAL = "this worker can't go on"


_VERDICTS: dict[int, Verdict] = {
    KafkaError.ILLEGAL_GENERATION: Verdict.NOT_OURS,
    KafkaError.UNKNOWN_MEMBER_ID: Verdict.NOT_OURS,
    KafkaError.REBALANCE_IN_PROGRESS: Verdict.NOT_OURS,
    KafkaError.FENCED_MEMBER_EPOCH: Verdict.NOT_OURS,
    KafkaError.STALE_MEMBER_EPOCH: Verdict.NOT_OURS,
    KafkaError._STATE: Verdict.NOT_OURS,
    KafkaError._ASSIGNMENT_LOST: Verdict.NOT_OURS,
    KafkaError._NO_OFFSET: Verdict.NOT_OURS,
    KafkaError.OFFSET_METADATA_TOO_LARGE: Verdict.METADATA,
    KafkaError.INVALID_COMMIT_OFFSET_SIZE: Verdict.METADATA,
    KafkaError._INVALID_ARG: Verdict.METADATA,
    KafkaError._FATAL: Verdict.FATAL,
    KafkaError.FENCED_INSTANCE_ID: Verdict.FATAL,
    KafkaError.UNRELEASED_INSTANCE_ID: Verdict.FATAL,
    KafkaError.UNSUPPORTED_VERSION: Verdict.FATAL,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Verdict.FATAL,
    KafkaError.GROUP_AUTHORIZATION_FAILED: Verdict.FATAL,
    KafkaError.SASL_AUTHENTICATION_FAILED: Verdict.FATAL,
    KafkaError._AUTHENTICATION: Verdict.FATAL,
}


def judge(error: KafkaError) -> Verdict:
    """The verdict on an error; what is unknown is waited out, since nothing is lost by that."""
    if error.fatal():
        return Verdict.FATAL
    return _VERDICTS.get(error.code(), Verdict.WAIT)


def is_fatal(error: KafkaError) -> bool:
    """Whether a worker that meets this error must end, so that somebody looks."""
    return judge(error) is Verdict.FATAL


_ABOUT_ACCESS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


def is_about_access(error: KafkaError) -> bool:
    """Whether credentials or ACLs are to be looked at."""
    return error.code() in _ABOUT_ACCESS
