"""The options of a service."""

import re
from pathlib import Path
from typing import Annotated

from nearnext.errors import ConfigError
from nearnext.options import Count, Positive, at_least, at_most, options
from nearnext.recommenders.item_rules import ItemRules

MEMORY = "memory"
"""The session store inside the process."""

ORIGIN = re.compile(r"https?://(?:[0-9a-z._-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?")
HOST = re.compile(r"[0-9a-z._-]+|\[[0-9a-f:.]+\]")

BACKLOG = 4096
"""Connections that may wait to be accepted."""

NEVER_STARTED = 3
"""Exit status of a worker that could not start."""

SCHEMES = {"redis", "rediss", "valkey", "valkeys"}


@options
class ServiceSettings:
    """Where the model is, what is stored where, and the limits of requests; `nearnext serve` says what each does.

    >>> ServiceSettings(Path("model"), workers=2)
    Traceback (most recent call last):
    nearnext.errors.ConfigError: 2 workers share no memory: give them a store, e.g. --store redis://localhost:6379
    """

    artifact: Path
    host: str = "127.0.0.1"
    port: Annotated[int, at_least(0), at_most(65535)] = 8000
    workers: Count = 1
    store: str = MEMORY
    store_mib: Count = 256
    session_ttl: Positive = 1800.0  # all times in seconds
    session_clicks: Count = 1000
    store_timeout: Positive = 0.25
    event_log: Path | None = None
    catalogue: Path | None = None
    api_key_file: Path | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_k: Count = 500
    max_body: Count = 1 << 20
    request_timeout: Positive = 10.0
    idle_timeout: Positive = 60.0
    shutdown_timeout: Positive = 15.0
    access_log: bool = True
    onnx: bool = False
    where: str | None = None
    boost: tuple[str, ...] = ()
    at_most: tuple[str, ...] = ()
    after: str | None = None

    def __post_init__(self) -> None:
        for origin in self.origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ConfigError(
                    f"no page has the origin '{origin}': expected e.g. https://shop.example or http://localhost:3000, "
                    "in small letters and without a path; give --cors once for each"
                )
        for host in self.hosts:
            if not HOST.fullmatch(host):
                raise ConfigError(
                    f"'{host}' is no name of a host: expected e.g. shop.example, in small letters, no port"
                )
        scheme = self.store.partition("://")[0]
        if self.store != MEMORY and scheme not in SCHEMES:
            raise ConfigError(f"unknown store '{scheme}'; known: memory, redis://HOST:PORT, rediss://, valkey://")
        if self.workers > 1 and self.store == MEMORY:
            raise ConfigError(
                f"{self.workers} workers share no memory: give them a store, e.g. --store redis://localhost:6379"
            )
        _ = self.rules
        model = self.artifact.resolve()
        for option, path in (("--event-log", self.event_log), ("--catalogue", self.catalogue)):
            if path is not None and path.resolve().is_relative_to(model):
                raise ConfigError(
                    f"{option} {path}: it would be removed with {self.artifact} when another model takes its place; "
                    "name a path outside"
                )

    @property
    def rules(self) -> ItemRules | None:
        """Rules for every list."""
        return ItemRules.parse(self.where, self.boost, self.at_most, self.after)

    @property
    def catalogue_file(self) -> Path:
        """The file of catalogue changes."""
        if self.catalogue is not None:
            return self.catalogue
        folder = self.artifact.absolute()
        return folder.with_name(folder.name + ".catalogue")

    @property
    def kept_model(self) -> Path:
        """The copy of the last model that worked, kept next to the catalogue."""
        return self.catalogue_file.with_name(self.catalogue_file.name + ".model")
