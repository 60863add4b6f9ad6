"""The Kafka connection, merged into config/queue.py by the Kafka queue provider."""

from lamplighter import env

# Further keys, such as ordering, retry_in_place, prefetch and stall_after: docs/kafka.md, "Settings".
config = {
    "connections": {
        "kafka": {
            "driver": "kafka",
            "queue": env("KAFKA_QUEUE", "store"),
            "topics": [env("KAFKA_API_QUEUE", "api")],
            "consumer_group_id": env("KAFKA_CONSUMER_GROUP_ID", "dos_data_store"),
            "group_protocol": env("KAFKA_GROUP_PROTOCOL", "classic"),
            "group_instance_id": env("KAFKA_GROUP_INSTANCE_ID", ""),
            "brokers": env("KAFKA_BROKERS", "localhost"),
            "dead_letter_topic": env("KAFKA_DEAD_LETTER_TOPIC", ""),
            "claim_check": env("KAFKA_CLAIM_CHECK", ""),
            "delay_store": env("KAFKA_DELAY_STORE", "database"),
            "sleep_on_error": env("KAFKA_ERROR_SLEEP", 5),
            "sleep_on_deadlock": env("KAFKA_DEADLOCK_SLEEP", 2),
            "security_protocol": env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
            "sasl_mechanisms": env("KAFKA_SASL_MECHANISMS", ""),
            "sasl_username": env("KAFKA_SASL_USERNAME", ""),
            "sasl_password": env("KAFKA_SASL_PASSWORD", ""),
            "sasl_plain_username": env("KAFKA_SASL_PLAIN_USERNAME", ""),
            "sasl_plain_password": env("KAFKA_SASL_PLAIN_PASSWORD", ""),
        },
    },
}
