"""The thread that fetches, keeps the group membership alive and commits; it runs no job."""
