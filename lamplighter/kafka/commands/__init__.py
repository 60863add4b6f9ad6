"""The Kafka driver's commands."""
