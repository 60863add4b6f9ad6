"""Workers on stores that give a job to one worker for a time: all that such drivers have in common."""
