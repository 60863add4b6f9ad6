"""Whether librdkafka takes what its clients are told."""

from collections.abc import Callable

from lamplighter.errors import ConfigError
from lamplighter.kafka.settings.native import Consumer, KafkaException, Producer
from lamplighter.kafka.settings.settings import KafkaSettings


def check_clients(settings: KafkaSettings, *, where: Callable[[str], str]) -> None:
    """Make clients that know no broker: what is refused is told at once, not by a thread or in the midst of a job.

    Raises:
        ConfigError: librdkafka does not take a setting; it names the file.
    """
    for make, config in ((Consumer, settings.consumer_config()), (Producer, settings.producer_config())):
        try:
            client = make({**config, "bootstrap.servers": "", "log_level": 0})
        except KafkaException as error:
            raise ConfigError(
                f"{where('options')} makes a setting that Kafka's client refuses: {error.args[0].str().strip()}. "
                f"It is one of options, consumer_options and producer_options, or made of another key (docs/kafka.md)."
            ) from error
        if isinstance(client, Consumer):
            client.close()
