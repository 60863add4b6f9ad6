"""Laravel's way of building services, in idiomatic Python, with a job queue on Apache Kafka at its heart."""

__version__ = "0.1.0"
