"""Jobs, payloads, dispatching and the worker; nothing in here knows which broker carries them."""
