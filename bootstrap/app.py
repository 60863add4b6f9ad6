"""The application and its service providers, in order; nothing is started here."""

from pathlib import Path

from lamplighter.foundation.application import Application


def create_app() -> Application:
    """An application that knows its providers; `run` or `bootstrap` begins with it."""
    return Application(
        Path(__file__).resolve().parents[1],
        providers=[
            "lamplighter.foundation.provider:FoundationServiceProvider",
            "lamplighter.cache.provider:CacheServiceProvider",
            "lamplighter.database.provider:DatabaseServiceProvider",
            "lamplighter.queue.provider:QueueServiceProvider",
            "lamplighter.kafka.provider:KafkaServiceProvider",
            "app.Providers.data_store_service_provider:DataStoreServiceProvider",
        ],
    )
