"""A primary and its standby, put up for one rehearsal."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from chaos.domain.recovery_documents import RehearsalSpec
from chaos.services.recovery_context import DrillContext, DrillResult
from chaos.services.recovery_front import DelayedLink, Front
from chaos.services.recovery_servers import fill, protections_of, wait_for_replication
from drivers.services.site_postgresql import PrivateCluster

KEPT_LOG = "wal_keep_size = '256MB'"


@dataclass
class Pair:
    """A primary in folder `a` and a standby in folder `b`, and the line between them where it is slowed."""

    context: DrillContext
    primary: PrivateCluster
    standby: PrivateCluster
    link: DelayedLink | None = None
    filled: tuple[int, str] = (0, "")
    protections: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, context: DrillContext, spec: RehearsalSpec, *settings: str, slow: bool = True) -> "Pair":
        """Put both up, with the rows that are compared afterwards, and wait until the standby has replayed them."""
        pair = cls(context, PrivateCluster(context.folder / "a"), PrivateCluster(context.folder / "b"))
        context.owe(pair.primary.remove)
        context.owe(pair.standby.remove)
        pair.primary.create([KEPT_LOG, *settings])
        pair.primary.start()
        pair.filled = fill(pair.primary, spec.rows)
        if slow and spec.replication_delay:
            pair.link = DelayedLink(pair.primary.port, spec.replication_delay.total_seconds())
            context.owe(pair.link.close)
        pair.standby.clone_from(pair.primary, through_port=pair.link.port if pair.link else None)
        pair.standby.start()
        wait_for_replication(pair.primary, pair.standby)
        pair.protections = protections_of(pair.primary)
        return pair

    def kill_primary(self, result: DrillResult, *fronts: Front) -> None:
        """Kill the primary, and with it what is still on the line and these fronts, as the loss of its host would."""
        began = time.monotonic()
        for front in fronts:
            front.stop()
        self.primary.kill()
        if self.link is not None:
            self.link.close()
        result.fault(at=began)


def start_front(context: DrillContext, folder: Path, servers: dict[str, int], *, active: str) -> Front:
    """Put up an HAProxy in front of servers (name to port), one of which takes the clients."""
    folder.mkdir(exist_ok=True)
    front = Front(folder, servers)
    context.owe(front.stop)
    front.start(active=active)
    return front
