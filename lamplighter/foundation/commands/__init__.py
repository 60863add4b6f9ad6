"""The commands that every application has."""

from lamplighter.support.provider import CommandEntry

HERE = "lamplighter.foundation.commands"

COMMANDS: tuple[CommandEntry, ...] = (
    CommandEntry("about", "Show what this application is made of", f"{HERE}.about:AboutCommand"),
    CommandEntry("config:show", "Show the configuration, without its secrets", f"{HERE}.config:ConfigShowCommand"),
    CommandEntry("down", "Put the application into maintenance mode", f"{HERE}.maintenance:DownCommand"),
    CommandEntry("env", "Show the environment", f"{HERE}.about:EnvironmentCommand"),
    CommandEntry("make:command", "Create a command", f"{HERE}.make:MakeCommandCommand"),
    CommandEntry("make:provider", "Create a service provider", f"{HERE}.make:MakeProviderCommand"),
    CommandEntry("up", "Bring the application out of maintenance mode", f"{HERE}.maintenance:UpCommand"),
)
