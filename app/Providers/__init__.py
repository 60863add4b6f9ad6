"""The Data Store's part of the application."""
