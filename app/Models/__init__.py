"""The tables of the Data Store."""
