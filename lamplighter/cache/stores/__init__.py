"""One store a module; each is imported when it is used."""
