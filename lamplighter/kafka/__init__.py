"""The Kafka driver: a queue connection on Apache Kafka, and a broker of its own for development."""
