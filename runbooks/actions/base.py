"""What the actions of this room have in common."""

from typing import Any, ClassVar

from drivers.data import Arguments, Risk, Support
from drivers.services.faults import OneWay


class RunbookAction(OneWay):
    """An action that always works here and cannot be taken back."""

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: ClassVar[type[Arguments]]
    risk: ClassVar[Risk] = Risk.CHANGE
    instead: ClassVar[str] = "this cannot be taken back; name a rollback step"

    def probe(self, arguments: Any) -> Support:  # noqa: ARG002 the protocol's name
        return Support(supported=True)
