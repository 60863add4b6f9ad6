"""Payloads that are kept beside their queue, being too large for it."""
