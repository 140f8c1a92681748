"""What reversible actions share, and what the others do."""

import hashlib
from datetime import timedelta
from typing import Any, ClassVar

from drivers.data import ActionResult, Arguments, Idempotency, Risk, Support

DEFAULT_TTL = timedelta(minutes=5)


def fault_name(idempotency_key: str) -> str:
    """Return a short name for a fault that is the same for the same key: fit for tables, files and labels."""
    return f"assay_{hashlib.sha256(idempotency_key.encode()).hexdigest()[:20]}"


class ReversibleFault:
    """A base for reversible actions: `run` is foresee and inject in one."""

    arguments: ClassVar[type[Arguments]]
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    reversible: ClassVar[bool] = True

    def probe(self, arguments: Any) -> Support:  # noqa: ARG002
        return Support(supported=True)

    def foresee(self, arguments: Any, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        """Return what undo needs."""
        raise NotImplementedError

    def inject(self, arguments: Any, foreseen: dict[str, Any]) -> ActionResult:
        """Do it to what was foreseen."""
        raise NotImplementedError

    def run(self, arguments: Any, *, idempotency_key: str) -> ActionResult:
        """Do it, for five minutes where it keeps its own time."""
        return self.inject(arguments, self.foresee(arguments, idempotency_key=idempotency_key, ttl=DEFAULT_TTL))


class OneWay:
    """A base for actions without an undo: one that only looks has nothing to take back, the others say so."""

    risk: ClassVar[Risk]
    idempotency: ClassVar[Idempotency] = Idempotency.NONE
    reversible: ClassVar[bool] = False
    instead: ClassVar[str] = "this cannot be taken back"

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        """Say that nothing is to be taken back, or that nothing can be."""
        if self.risk is Risk.READ:
            return ActionResult(ok=True)
        return ActionResult(ok=False, error=self.instead)

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:  # noqa: ARG002
        """Say no: what it did is done."""
        return False
