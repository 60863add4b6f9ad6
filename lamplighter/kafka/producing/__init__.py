"""How a record gets onto a topic, acknowledged."""
