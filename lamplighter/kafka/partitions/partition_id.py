"""What tells a partition from all others. The client's `TopicPartition` carries an offset and metadata besides."""

PartitionId = tuple[str, int]  # the topic and the number
