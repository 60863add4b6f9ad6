"""Which record may run next, and what waits behind what."""
