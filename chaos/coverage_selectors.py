"""What has been proven about services, what was never tried, and what to try next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from accounts.data import Principal
from catalog.selectors import dependencies, services_visible
from chaos.data import RunState, Verdict
from chaos.domain.coverage import EXPECTED, MODE_OF, WORDS, FailureMode, Proof, Score, score_of
from chaos.models import ChaosRun
from chaos.program_models import ChaosFinding, GameDay, GameDaySession
from chaos.recovery_models import RecoveryTestRun
from chaos.selectors import retests_visible

CONCLUSIVE = (Verdict.PASSED, Verdict.FAILED)
PROOFS_READ = 2000
NOTHING: Mapping[FailureMode, Proof] = {}


@dataclass(frozen=True)
class CoverageRow:
    """A service with its newest proof for each failure mode, and its score."""

    service: Any
    newest: Mapping[FailureMode, Proof]
    score: Score


@dataclass(frozen=True)
class Suggestion:
    """Something worth trying, why, and which template or page helps."""

    service: Any
    mode: FailureMode
    because: str
    template: str = ""
    url: str = ""


def coverage(*, viewer: Principal, now: datetime) -> list[CoverageRow]:
    """Return what is proven about each service that the viewer may see, the least proven of the highest tier first."""
    # Of very many services, no more is read than the page says, and only those with proofs are reckoned.
    known = services_visible(viewer=viewer).select_related(None).only("pk", "slug", "name", "tier")
    services = list(known.order_by("tier", "slug"))
    proofs = _proofs({service.slug for service in services}, known.order_by().values("pk"))
    blank = {tier: score_of((), tier=tier, now=now) for tier in EXPECTED}
    rows = [
        CoverageRow(service, _newest(proven), score_of(proven, tier=service.tier, now=now))
        if (proven := proofs[service.slug])
        else CoverageRow(service, NOTHING, blank[service.tier])
        for service in services
    ]
    return sorted(rows, key=lambda row: (row.service.tier, row.score.points, row.service.slug))


def score_of_service(*, service: Any, now: datetime) -> Score:
    """Return a service's resilience score."""
    return score_of(_proofs({service.slug}, [service.pk]).get(service.slug, []), tier=service.tier, now=now)


def _newest(proofs: Iterable[Proof]) -> dict[FailureMode, Proof]:
    found: dict[FailureMode, Proof] = {}
    for proof in proofs:
        if proof.mode not in found or proof.at > found[proof.mode].at:
            found[proof.mode] = proof
    return found


def _proofs(slugs: set[str], services: QuerySet[Any, Any] | Sequence[int]) -> dict[str, list[Proof]]:
    found: dict[str, list[Proof]] = {slug: [] for slug in slugs}
    runs = (
        ChaosRun.objects.filter(verdict__in=CONCLUSIVE, ended_at__isnull=False)
        .select_related("revision")
        .only("reference", "verdict", "ended_at", "revision__definition")
        .order_by("-ended_at")[:PROOFS_READ]
    )
    for run in runs:
        spec = run.revision.definition["spec"]
        modes = {MODE_OF[fault["action"]] for fault in spec["faults"] if fault["action"] in MODE_OF}
        for slug in slugs & set(spec["services"]):
            assert run.ended_at is not None  # noqa: S101 the query asks for it
            found[slug] += [Proof(mode, run.verdict, run.ended_at, run.reference) for mode in modes]
    tests = (
        RecoveryTestRun.objects.filter(
            state=RunState.FINISHED, verdict__in=CONCLUSIVE, ended_at__isnull=False, test__service__in=services
        )
        .values_list("test__service__slug", "verdict", "ended_at", "reference")
        .order_by("-ended_at")[:PROOFS_READ]
    )
    for slug, verdict, ended_at, reference in tests:
        assert ended_at is not None  # noqa: S101 the query asks for it
        found[slug].append(Proof(FailureMode.RECOVERY, verdict, ended_at, reference, recovery=True))
    return found


# Which template comes nearest to proving a failure mode.
TEMPLATE_OF: Mapping[FailureMode, str] = {
    FailureMode.LOSS: "replica-loss",
    FailureMode.FREEZE: "replica-freeze",
    FailureMode.SLOW: "slow-model-api",
    FailureMode.ERRORS: "model-api-errors",
    FailureMode.CUT_OFF: "cut-off",
    FailureMode.SHORTAGE: "queue-backlog",
}


def suggestions(rows: Sequence[CoverageRow], *, viewer: Principal, now: datetime, limit: int = 20) -> list[Suggestion]:
    """Return what to try next of what `coverage` has found.

    First findings to be tried again, then dependencies of tier 1 that never failed, then gaps.
    """
    by_slug = {row.service.slug: row for row in rows}
    found: list[Suggestion] = []
    for finding in retests_visible(viewer=viewer):
        for service in finding.experiment.services.all():
            if service.slug in by_slug:
                mode = _mode_of(finding)
                word = "overdue since" if finding.is_overdue(now) else "due until"
                due = f", {word} {finding.retest_due_at:%d %b %Y}" if finding.retest_due_at else ""
                because = f"said to be mended and not tried again{due}: {finding}"
                found.append(Suggestion(service, mode, because, url=finding.get_absolute_url()))
                break
    rests = {
        provider: consumer
        for consumer, provider in dependencies()
        if consumer in by_slug and by_slug[consumer].service.tier == 1 and provider in by_slug
    }
    for provider, consumer in sorted(rests.items()):
        row = by_slug[provider]
        if not set(row.newest) - {FailureMode.RECOVERY}:
            because = f"{by_slug[consumer].service.name} (tier 1) rests on it, and it has never failed in a test"
            found.append(Suggestion(row.service, FailureMode.LOSS, because, TEMPLATE_OF[FailureMode.LOSS]))
    named = {(one.service.slug, one.mode) for one in found}
    for row in rows:
        if len(found) >= limit:
            break
        for mode in EXPECTED[row.service.tier]:
            if mode not in row.newest and (row.service.slug, mode) not in named:
                because = f"never tried: {WORDS[mode].lower()}; tier {row.service.tier} asks for it"
                found.append(Suggestion(row.service, mode, because, TEMPLATE_OF.get(mode, "")))
    return found[:limit]


def _mode_of(finding: ChaosFinding) -> FailureMode:
    definition = finding.found_in.revision.definition
    modes = [MODE_OF[fault["action"]] for fault in definition["spec"]["faults"] if fault["action"] in MODE_OF]
    return modes[0] if modes else FailureMode.LOSS


def game_days_visible(*, viewer: Principal) -> QuerySet[GameDay]:
    """Return the game days about services that the viewer may see."""
    services = services_visible(viewer=viewer)
    return GameDay.objects.filter(services__in=services).select_related("environment").distinct()


def sessions_visible(*, viewer: Principal) -> QuerySet[GameDaySession]:
    """Return the times that those game days were held, newest first."""
    return GameDaySession.objects.filter(game_day__in=game_days_visible(viewer=viewer).values("pk")).select_related(
        "game_day"
    )
