"""What a file of the catalog may say: Assay's own kinds."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SLUG = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
Slug = Annotated[str, Field(pattern=SLUG)]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(value: object) -> object:
    """Turn `90s`, `15m`, `4h` or `1d` into a timedelta; anything else is left for pydantic to refuse."""
    if isinstance(value, str) and value[:-1].isdigit() and value[-1:] in UNITS:
        return timedelta(seconds=int(value[:-1]) * UNITS[value[-1]])
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a thing."""

    name: Slug
    title: str = ""
    description: str = ""


class TeamSpec(_Strict):
    """People who own services. Without `members` who is in it stays as it is; an empty list empties it."""

    members: list[str] | None = None


class TeamDocument(_Strict):
    """`kind: Team`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Team"]
    metadata: Metadata
    spec: TeamSpec = TeamSpec()


class RegionSpec(_Strict):
    """Where data stays."""

    residency: str = ""


class RegionDocument(_Strict):
    """`kind: Region`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Region"]
    metadata: Metadata
    spec: RegionSpec = RegionSpec()


class EnvironmentSpec(_Strict):
    """What a stage allows."""

    chaosAllowed: bool = False  # noqa: N815
    production: bool = False


class EnvironmentDocument(_Strict):
    """`kind: Environment`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Environment"]
    metadata: Metadata
    spec: EnvironmentSpec = EnvironmentSpec()


class ServiceSpec(_Strict):
    """A service; `dependsOn` names the services that it needs."""

    team: Slug | None = None
    environment: Slug
    region: Slug | None = None
    tier: int = Field(default=3, ge=1, le=4)
    lifecycle: str = "production"
    rto: Duration | None = None
    rpo: Duration | None = None
    url: str = ""
    dependsOn: list[Slug] = []  # noqa: N815


class ServiceDocument(_Strict):
    """`kind: Service`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


Document = TeamDocument | RegionDocument | EnvironmentDocument | ServiceDocument
KINDS: dict[str, type[Document]] = {
    "Team": TeamDocument,
    "Region": RegionDocument,
    "Environment": EnvironmentDocument,
    "Service": ServiceDocument,
}
