"""What is left to do, and what holds it up."""
