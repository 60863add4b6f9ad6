"""What the jobs share: values, rows and answers."""
