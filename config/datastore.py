"""The Data Store."""

from lamplighter import env

config = {
    # The topic that answers go to.
    "answers": env("KAFKA_API_QUEUE", "api"),
}
