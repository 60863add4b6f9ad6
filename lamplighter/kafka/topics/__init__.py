"""What topics there are, and what they have to be like."""
