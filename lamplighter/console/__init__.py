"""Making commands: Typer underneath, Laravel's look on the screen."""
