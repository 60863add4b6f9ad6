"""Failed jobs in a topic: written there when a job fails, read without a group, marked when they are dealt with."""
