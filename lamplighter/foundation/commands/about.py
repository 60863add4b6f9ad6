"""`about` and `env`: what this application is and where it runs."""

import importlib.metadata
import json
import platform
from typing import Annotated, TypeAlias

import typer

from lamplighter import __version__
from lamplighter.console.command import Command
from lamplighter.contracts import Application, Config, Maintenance

Sections: TypeAlias = dict[str, dict[str, str]]

PACKAGES = {
    "confluent-kafka": "confluent-kafka",
    "SQLAlchemy": "sqlalchemy",
    "Alembic": "alembic",
    "Typer": "typer",
    "redis": "redis",
    "psycopg": "psycopg",
}

Json = Annotated[bool, typer.Option(help="Print one JSON object")]


class AboutCommand(Command):
    """Show what this application is made of."""

    name = "about"
    description = "Show what this application is made of"

    def __init__(self, app: Application, config: Config, maintenance: Maintenance) -> None:
        self._app = app
        self._config = config
        self._maintenance = maintenance

    def handle(self, json: Json = False) -> None:
        sections = {"Environment": self._environment(), "Versions": _versions(), "Drivers": self._drivers()}
        if json:
            self.output.line(_json(sections))
            return
        for title, facts in sections.items():
            self.output.line()
            self.output.line(f"  {self.output.paint('title', title)}")
            for name, value in facts.items():
                self.output.two_column(name, value)
        self.output.line()

    def _environment(self) -> dict[str, str]:
        return {
            "Application Name": str(self._config.get("app.name", "")),
            "Base Path": str(self._app.base_path),
            "Environment": self._app.environment,
            "Debug Mode": "ENABLED" if self._config.boolean("app.debug", False) else "OFF",
            "Maintenance Mode": "ENABLED" if self._maintenance.is_down() else "OFF",
            "Timezone": str(self._config.get("app.timezone", "")),
        }

    def _drivers(self) -> dict[str, str]:
        keys = {"Cache": "cache", "Database": "database", "Logs": "logging", "Queue": "queue"}
        return {name: str(self._config.get(f"{section}.default", "none")) for name, section in keys.items()}


class EnvironmentCommand(Command):
    """Show the environment."""

    name = "env"
    description = "Show the environment"

    def __init__(self, app: Application) -> None:
        self._app = app

    def handle(self) -> None:
        self.output.info(f"The application environment is [{self._app.environment}].")


def _versions() -> dict[str, str]:
    versions = {"Lamplighter": __version__, "Python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            versions[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _json(sections: Sections) -> str:
    return json.dumps(
        {_key(title): {_key(name): value for name, value in facts.items()} for title, facts in sections.items()}
    )


def _key(title: str) -> str:
    return title.lower().replace(" ", "_").replace("-", "_")
