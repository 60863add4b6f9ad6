"""Values by key, for a while or for ever, shared as widely as their store reaches."""
