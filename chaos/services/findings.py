"""Findings: what a run has shown to be wrong, its follow-up, and the run that shows it mended."""

from django.db.models import F

from catalog.services import close_action_item, open_action_item
from chaos.data import Verdict
from chaos.domain.coverage import is_worse
from chaos.events import ChaosFindingOpened
from chaos.models import ChaosRun
from chaos.program_models import SETTLED_FINDINGS, ChaosFinding, FindingKind, FindingState
from core.clock import database_now
from core.events import publish
from delivery.data import Channel
from delivery.services import send
from ledger.data.chaos import ChaosFindingRecorded
from ledger.services import record

COMPARED_RUNS = 5


def judge_run(run: ChaosRun) -> None:
    """Open, repeat or close findings by what a run has shown. Called in the transaction that ends it."""
    if run.verdict == Verdict.FAILED:
        _found(run, FindingKind.WEAKNESS, f"{run.revision.experiment}: {run.reason}")
    elif run.verdict == Verdict.PASSED:
        _proven(run, FindingKind.WEAKNESS)
        earlier = ChaosRun.objects.filter(
            revision__experiment=run.revision.experiment, verdict=Verdict.PASSED, ended_at__lt=run.ended_at
        ).exclude(recovery_seconds=None)[:COMPARED_RUNS]
        before = [one.recovery_seconds for one in earlier if one.recovery_seconds is not None]
        if run.recovery_seconds is not None and is_worse(run.recovery_seconds, before=before):
            middle = sorted(before)[len(before) // 2]
            text = f"{run.revision.experiment}: recovery took {run.recovery_seconds:.0f} s, before {middle:.0f} s"
            _found(run, FindingKind.REGRESSION, text)
        elif before:
            _proven(run, FindingKind.REGRESSION)


def _found(run: ChaosRun, kind: FindingKind, text: str) -> None:
    experiment = run.revision.experiment
    again = ChaosFinding.objects.filter(experiment=experiment, kind=kind).exclude(state__in=SETTLED_FINDINGS)
    before = again.first()
    if before is not None:
        again.update(
            state=FindingState.OPEN, times=F("times") + 1, text=text[:500], retest_due_at=None, overdue_told_at=None
        )
        finding = again.get()
        close_action_item(source_key=before.retest_key)
    else:
        finding = ChaosFinding.objects.create(
            experiment=experiment, kind=kind, text=text[:500], found_in=run, found_at=database_now()
        )
    service = experiment.services.order_by("tier", "slug").first()
    open_action_item(
        source_key=f"{finding.source_key}:{finding.times}",
        title=text,
        service_id=service.pk if service else None,
        url=f"/chaos/runs/{run.reference}/",
    )
    record_finding(finding, run, actor=run.requested_by)
    publish(ChaosFindingOpened(experiment=experiment.slug, run=run.reference, finding_kind=kind, text=text[:500]))
    if run.requested_by.startswith("user:"):
        send(
            channel=Channel.IN_APP,
            address=run.requested_by,
            idempotency_key=f"{finding.source_key}:{finding.times}",
            subject=text[:150],
            text=text,
            link=f"/chaos/runs/{run.reference}/",
            about=f"chaos:{run.reference}",
        )


def _proven(run: ChaosRun, kind: FindingKind) -> None:
    """Close what was mended before this run; what nobody has mended stays open, because it may have been luck."""
    mended = ChaosFinding.objects.filter(
        experiment=run.revision.experiment, kind=kind, state=FindingState.MENDED, mended_at__lte=run.requested_at
    )
    for finding in mended:
        close_action_item(source_key=finding.retest_key)
        finding.state, finding.proven_in, finding.proven_at = FindingState.PROVEN, run, database_now()
        finding.save(update_fields=["state", "proven_in", "proven_at"])
        record_finding(finding, run, actor=run.requested_by)


def record_finding(finding: ChaosFinding, run: ChaosRun, *, actor: str, state: str = "", reason: str = "") -> None:
    """Keep in the ledger where a finding stands now."""
    record(
        ChaosFindingRecorded(
            finding=finding.pk,
            experiment=finding.experiment.slug,
            run=run.reference,
            kind=finding.kind,
            state=state or finding.state,
            text=finding.text,
            mended_how=finding.mended_how,
            retest_due_at=finding.retest_due_at,
            reason=reason,
        ),
        actor=actor,
        subject=f"experiment:{finding.experiment.slug}",
    )
