"""What the site reads from the process environment, with types and defaults."""

import secrets
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

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
    assay_log_level: str = "INFO"
    assay_email_url: str = Field(
        default="", description="smtp://user:password@host:port or smtps://…; empty: mail is kept in files."
    )
    assay_email_from: str = "assay@localhost"
    secret_key: str = ""
    database_url: str = ""
    broker_url: str = ""
    artifact_store_url: str = ""
    port: int = 8000

    @field_validator("assay_allowed_hosts", "assay_outbound_allow", mode="before")
    @classmethod
    def split_commas(cls, value: object) -> object:
        """Accept `a,b c` for a list."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


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
