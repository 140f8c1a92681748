"""What the site reads from the process environment, with types and defaults."""

import os
import secrets
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# What may be given as a file: NAME_FILE holds its path.
SECRETS = (
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "DATABASE_URL",
    "REPLICA_DATABASE_URL",
    "BROKER_URL",
    "ASSAY_EMAIL_URL",
    "ARTIFACT_STORE_URL",
)
ROOT = Path(__file__).resolve().parent.parent


class Environment(BaseSettings):
    """Every variable that changes how the site runs; unset ones serve a fresh single machine."""

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True)

    assay_state_dir: Path = Field(default=ROOT / "var", description="Folder for everything the site keeps.")
    assay_debug: bool = False
    assay_site_url: str = Field(default="http://127.0.0.1:8000", description="Address people use to reach the site.")
    assay_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = (
        "127.0.0.1",
        "localhost",
        "[::1]",
        "testserver",
    )
    assay_outbound_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts or networks (CIDR) that outbound HTTP may reach although they are private.",
    )
    assay_runbook_tasks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names of the Celery tasks that the runbook action celery.task may send."
    )
    assay_api_rate: float = Field(
        default=50.0,
        ge=0,
        description="Requests a second that one API token may make in each web process; 0: no limit.",
    )
    assay_telemetry_rate: float = Field(
        default=1000.0, ge=0, description="OTLP requests a second of one token in each web process; 0: no limit."
    )
    assay_upload_scanner: str = Field(
        default="", description="Command that reads an uploaded file from its input; ends with 0 clean, 1 harmful."
    )
    assay_web_statement_seconds: float = Field(
        default=60.0, ge=0, description="Longest statement of a web process on PostgreSQL; 0: no bound."
    )
    assay_trust_proxy: bool = Field(
        default=False, description="A proxy before the site ends TLS and sets X-Forwarded-Proto itself."
    )
    assay_log_level: str = "INFO"
    assay_email_url: str = Field(
        default="", description="smtp://user:password@host:port or smtps://…; empty: mail is kept in files."
    )
    assay_email_from: str = "assay@localhost"
    assay_region: str = Field(
        default="", description="Slug of the catalog's region that this site keeps its data in; exports stay there."
    )
    assay_artifact_region: str = Field(
        default="", description="Region that the artifact store lies in; empty: ASSAY_REGION."
    )
    assay_region_networks: Annotated[tuple[tuple[IPv4Network | IPv6Network, str], ...], NoDecode] = Field(
        default=(), description="Networks that people and machines ask from, with their regions: 10.1.0.0/16=eu-1."
    )
    secret_key: str = ""
    secret_key_previous: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Keys that are accepted, but no longer (or not yet) used for anything new."
    )
    database_url: str = ""
    replica_database_url: str = Field(default="", description="A read replica that follows DATABASE_URL, for reports.")
    assay_replica_max_lag: float = Field(default=10.0, ge=0, description="Seconds it may be behind.")
    broker_url: str = ""
    artifact_store_url: str = ""
    assay_static_dir: Path | None = Field(
        default=None, description="Folder with the collected static files, where an image carries them."
    )
    port: int = 8000

    @model_validator(mode="before")
    @classmethod
    def read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read `SECRET_KEY_FILE` and its like: what orchestrators mount rather than put into the environment."""
        for name in SECRETS:
            path = os.environ.get(f"{name}_FILE")
            if not path:
                continue
            if values.get(name.lower()):
                raise ValueError(f"{name} and {name}_FILE are both set; set one")
            try:
                values[name.lower()] = Path(path).read_text("utf-8").strip()
            except OSError as error:
                raise ValueError(f"{name}_FILE: {path} cannot be read: {error.strerror}") from None
        return values

    @field_validator(
        "assay_allowed_hosts", "assay_outbound_allow", "assay_runbook_tasks", "secret_key_previous", mode="before"
    )
    @classmethod
    def split_commas(cls, value: object) -> object:
        """Accept `a,b c` for a list."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("assay_region_networks", mode="before")
    @classmethod
    def split_networks(cls, value: object) -> object:
        """Accept `10.1.0.0/16=eu-1,10.2.0.0/16=us-1`."""
        if not isinstance(value, str):
            return value
        pairs = [one.partition("=") for one in value.replace(",", " ").split()]
        if wrong := [network for network, _, region in pairs if not region]:
            raise ValueError(f"{wrong[0]} has no region; written as 10.1.0.0/16=eu-1")
        return tuple((network, region) for network, _, region in pairs)


def secret_key_for(environment: Environment) -> str:
    """Return the configured secret key, or the one kept in the state folder, made there on first use."""
    if environment.secret_key:
        return environment.secret_key
    path = environment.assay_state_dir / "secret_key"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        environment.assay_state_dir.mkdir(parents=True, exist_ok=True)
        candidate = path.with_suffix(f".{secrets.token_hex(4)}")
        candidate.touch(mode=0o600)
        candidate.write_text(secrets.token_urlsafe(48), "ascii")
        try:
            path.hardlink_to(candidate)
        except FileExistsError:
            pass
        finally:
            candidate.unlink()
        return path.read_text("ascii").strip()


def previous_keys_for(environment: Environment) -> list[str]:
    """Return the keys that are accepted besides the one in use: configured, or kept in the state folder."""
    if environment.secret_key_previous:
        return list(environment.secret_key_previous)
    try:
        return (environment.assay_state_dir / "secret_key_previous").read_text("ascii").split()
    except FileNotFoundError:
        return []
