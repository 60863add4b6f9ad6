"""Drivers without a broker of their own."""
