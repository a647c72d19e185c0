"""The only reader of the environment: every setting, `FEATURE_REGISTRY_NAME` by its name in capitals."""

from __future__ import annotations

import contextlib
import os
import secrets
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from feature_registry.location import Location
from feature_registry.model.policies import Policies

Materialize = Literal["latest", "all", "none"]


class Settings(BaseSettings):
    """What an installation may choose; with nothing set, all is embedded below `.feature_registry/`."""

    model_config = SettingsConfigDict(env_prefix="FEATURE_REGISTRY_", env_file=None, extra="ignore", frozen=True)

    home: Path = Field(Path(".feature_registry"), description="the folder of the embedded catalog, data and secret")
    server: str | None = Field(None, description="address of the registry's API; unset: the embedded registry")
    database: str | None = Field(None, description="SQLAlchemy URL of the catalog; unset: SQLite in `home`")
    managed: str | None = Field(None, description="location below which produced tables are written; unset: in `home`")
    host: str = Field("127.0.0.1", description="where `up` listens")
    port: int = Field(8470, description="of the API")
    file_port: int = Field(8471, description="of the file server, which serves the signed URLs of file://")
    dagster_port: int = Field(3000, description="of the Dagster webserver")
    dagster_url: str | None = Field(
        None, description="how the code location reaches the Dagster webserver; unset: host and dagster_port"
    )
    public_url: str | None = Field(None, description="how clients reach the API; unset: host and port")
    file_url: str | None = Field(None, description="how clients reach the file server; unset: host and port")
    allowed_prefixes: tuple[str, ...] = Field((), description="locations, beside `managed`, that HTTP may register")
    secret: SecretStr | None = Field(None, description="key of links and of file URLs; unset: made once in `home`")
    signature_seconds: int = Field(60, gt=0, description="lifetime of a signed URL behind a link")
    budget_bytes: int | None = Field(None, ge=0, description="bytes a person may read in 30 days; unset: no limit")
    price_per_gb: float | None = Field(None, ge=0, description="price of reading 10^9 bytes; unset: not said")
    token: SecretStr | None = Field(
        None, description="what the client proves its user with; unset: nobody is logged in"
    )
    person: str = Field("local", description="who acts when nobody is logged in")
    feature_modules: tuple[str, ...] = Field(
        ("feature_registry.demo.assets",), description="modules whose feature tables Dagster loads"
    )
    version_source: str | None = Field(
        None, description="module:class that says which materialization versions exist; unset: CAVE, or else the demo's"
    )
    cave_server: str | None = Field(None, description="address of CAVE's global server; unset: there is no CAVE")
    cave_token: SecretStr | None = Field(None, description="CAVE's bearer token")
    cave_datastacks: tuple[str, ...] = Field((), description="CAVE's datastacks whose versions are followed")
    cave_database: SecretStr | None = Field(
        None, description="postgresql:// URL of the server of CAVE's frozen databases, without a database's name"
    )
    cave_connections: int = Field(2, gt=0, description="dumps of CAVE's databases that run at once")
    dump_via: Literal["database", "exporter"] = Field(
        "database", description="how tables are dumped: out of CAVE's database, or by CAVE's own exporter"
    )
    cave_exports: str | None = Field(
        None, description="location below which CAVE's exporter writes, such as gs://bucket/deltalake_exports"
    )
    dump_expiring: bool = Field(False, description="whether versions are dumped that CAVE will drop, too")
    dump_invalid: bool = Field(False, description="whether rows are dumped that CAVE says are not valid, too")
    dump_tables: tuple[str, ...] = Field(("*",), description="patterns of the tables that are dumped, such as synapse*")
    dump_layouts_from: int = Field(
        64_000_000, ge=0, description="bytes of the first layout of a dump from which the others are written, too"
    )
    dump_rows_per_second: int = Field(
        200_000, gt=0, description="what a dump is expected to do, by which one that cannot end in time is not begun"
    )
    materialize: Materialize = Field(
        "latest", description="which materialization versions are made unasked when they appear: latest, all or none"
    )
    checksum_bytes: int = Field(
        2_000_000_000, ge=0, description="up to how many bytes of a local table are hashed when it is registered"
    )

    policies: dict[str, Policies] = Field(
        {}, description="by datastack, or `*` for all others, what is asked of the tables registered in it (JSON)"
    )
    person_teams: tuple[str, ...] = Field(
        ("*",), description="the teams of who acts when nobody is logged in; `*`: all"
    )

    def __hash__(self) -> int:
        """Of what is open, a process keeps one by its settings; a mapping has no hash of its own."""
        return hash(repr(self))

    def policies_of(self, datastack: str) -> Policies:
        """What is said for the datastack, else for all, else the default, choice by choice."""
        said = [self.policies[name] for name in ("*", datastack) if name in self.policies]
        return Policies(**{name: getattr(each, name) for each in said for name in each.model_fields_set})

    @cached_property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{(self.home / 'catalog.db').absolute()}"

    @property
    def source(self) -> str:
        """The `module:class` of the version source."""
        if self.version_source is not None:
            return self.version_source
        return "feature_registry.cave.server:Cave" if self.cave_server else "feature_registry.demo.source:CortexCave"

    @cached_property
    def managed_root(self) -> Location:
        return Location(self.managed or self.home / "tables")

    @cached_property
    def prefixes(self) -> tuple[Location, ...]:
        """Where a caller over HTTP may register a table."""
        return (self.managed_root, *map(Location, self.allowed_prefixes))

    @cached_property
    def api_address(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @cached_property
    def file_address(self) -> str:
        return (self.file_url or f"http://{self.host}:{self.file_port}").rstrip("/")

    @cached_property
    def dagster_address(self) -> str:
        return (self.dagster_url or f"http://{self.host}:{self.dagster_port}").rstrip("/")

    @cached_property
    def link_key(self) -> bytes:
        """The secret behind links and file URLs; made on first use, readable by this user only."""
        if self.secret is not None:
            return self.secret.get_secret_value().encode()
        path = self.home / "secret"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{secrets.token_hex(4)}")
            draft.touch(mode=0o600)
            with draft.open("w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())  # a loss of power must not leave an empty key behind
            with contextlib.suppress(FileExistsError):  # another process was first
                path.hardlink_to(draft)
            draft.unlink()
        return path.read_text().strip().encode()


def current(**said: str) -> Settings:
    """`Settings(**said)`, read again only when the environment or the current folder changed: reading takes 10 ms."""
    environment = frozenset(each for each in os.environ.items() if each[0].startswith("FEATURE_REGISTRY_"))
    return _read(environment, Path.cwd(), frozenset(said.items()))


@lru_cache(maxsize=8)
def _read(environment: frozenset[tuple[str, str]], folder: Path, said: frozenset[tuple[str, str]]) -> Settings:
    return Settings(**dict(said))  # type: ignore[arg-type]
