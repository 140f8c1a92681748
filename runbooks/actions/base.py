"""What the actions of this room have in common."""

from typing import Any, ClassVar

from drivers.data import ActionResult, Arguments, Idempotency, Risk, Support


class RunbookAction:
    """An action that always works here and cannot be taken back."""

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: ClassVar[type[Arguments]]
    risk: ClassVar[Risk] = Risk.CHANGE
    idempotency: ClassVar[Idempotency] = Idempotency.NONE
    reversible: ClassVar[bool] = False

    def probe(self, arguments: Any) -> Support:  # noqa: ARG002 the protocol's name
        return Support(supported=True)

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002 the protocol's names
        if self.risk is Risk.READ:
            return ActionResult(ok=True)
        return ActionResult(ok=False, error=f"{self.name} cannot be taken back; name a rollback step")

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:  # noqa: ARG002 the protocol's names
        return False
