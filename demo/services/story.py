"""The story: one chaos run from its approval to the auditor's verified pack, through the services of production.

It acts as the demo's people would, each with the rights that they have, and waits for what the running site does by
itself. Or it only watches and says who has to do what, while people act on the pages. Every wait has a deadline; a step
that does not happen ends the story with what was seen instead.
"""

import io
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from accounts.data import Principal
from accounts.selectors import principal_for_user, user_by_username
from chaos.data import FaultState, RunState, Verdict
from chaos.selectors import engaged_kill_switch, experiment_by_slug, live_runs, run_by_reference
from chaos.services import GuardRefusedError, approve_plan, request_run
from compliance.selectors import (
    access_of,
    controls_visible,
    engagements_visible,
    evidence_of,
    exports_visible,
    frameworks_visible,
    requirement_standings,
    window_to,
)
from compliance.services import request_export, run_checks
from core.clock import database_now
from core.parsing import InputRefusedError
from delivery.selectors import deliveries_about
from demo.services.auditing import AUDIT
from drivers.services import action_is_active
from incidents.selectors import incident_by_reference, open_incidents, timeline_of
from incidents.services import acknowledge_incident
from ledger.selectors import entries
from ledger.services import public_verifier_key, read_artifact, verify_log
from reliability.selectors import budget_status, firing_burn_alerts, slo_by_slug
from runbooks.selectors import runs_of_incident
from runbooks.services import approve_step

EXPERIMENT = "model-servers-freeze"
SLO = "gateway-ttft"
EVENTS_NEEDED = 60
SECONDS_FOR_PEOPLE = 600
ATTEMPTS = 3
PROVEN = ("CC7.2", "CC7.3", "CC7.4", "CC7.5", "A1.2", "A.5.26", "A.5.30", "A.8.16")

Answer = TypeVar("Answer")


class StoryError(RuntimeError):
    """A step of the story did not happen in time."""


class FaultGoneError(RuntimeError):
    """The fault ended early, or its run before it: a restart of the stack or a killed runner left nothing to notice."""


@dataclass
class Story:
    """Tells the story; `say` gets one line for each step, with the seconds since the beginning.

    With `watch` it does nothing that people do: it says what is theirs to do, and waits until they have.
    """

    say: Callable[[str], None]
    watch: bool = False
    began: float = 0.0
    began_at: datetime | None = None
    fault: Any = None
    against: dict[str, str] = field(default_factory=dict)

    def tell(self) -> None:
        """Go through every step, once more where the run or its targets were cut off. Raises StoryError."""
        self.began, self.began_at = time.monotonic(), database_now()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._operate()
                break
            except FaultGoneError:
                self.fault = None
                if attempt == ATTEMPTS:
                    raise StoryError(f"the chaos run was cut off from outside, {ATTEMPTS} times") from None
                self._note("the chaos run was cut off from outside: once more from the beginning")
        self._prove()
        self._audit()
        self._note("The end: what operations did is what the auditor verifies")

    def _operate(self) -> None:
        """From the calm to the resolved incident."""
        self._until("the site measures the SLO and nothing is wrong", self._calm, seconds=240)
        experiment = experiment_by_slug(slug=EXPERIMENT)
        if experiment is None:
            raise StoryError("the demo organization is not loaded: manage.py demo load")
        self._ask("Bob approves the plan, then Olga runs it", f"/chaos/{EXPERIMENT}/")
        run = self._until(
            "Olga starts what Bob has approved: every guard agrees",
            lambda: self._started(experiment),
            seconds=self._patience(120),
        )
        self.fault = self._until(
            "the model servers are frozen, the undo written ahead",
            lambda: self._frozen(run),
            seconds=150,
        )
        self._until(
            "the gateway's retries no longer hide it: the burn-rate alert fires",
            lambda: firing_burn_alerts().filter(slo__service__slug="gateway").first(),
            seconds=120,
        )
        incident = self._until(
            "an incident is open and knows its cause",
            lambda: open_incidents().filter(caused_by=run.source_key).first(),
            seconds=90,
        )
        self._until(
            f"Alice, who is on call, was paged for {incident.reference}",
            lambda: deliveries_about(about=f"incident:{incident.reference}").first(),
            seconds=90,
        )
        looked = ["waiting"]
        if self.watch:
            # People may be quicker than who watches, and do it in another order.
            looked, self.fault = ["waiting", "succeeded"], None
        self._ask("Alice acknowledges", f"/incidents/{incident.reference}/")
        if not self.watch:
            acknowledge_incident(principal=person("alice"), incident=incident)
        self._until("Alice acknowledges", lambda: _is_acknowledged(incident), seconds=self._patience(10))
        runbook_run = self._until(
            "the runbook has looked by itself and waits for approval",
            lambda: runs_of_incident(incident_reference=incident.reference).filter(state__in=looked).first(),
            seconds=90,
        )
        self.fault = None
        self._ask("Bob approves the restart", f"/runbooks/runs/{runbook_run.reference}/")
        if not self.watch:
            approve_step(principal=person("bob"), run=runbook_run, step_id="agree")
            self._note("Bob approves the restart")
        self._until(
            "the frozen servers are restarted, the runbook has checked them",
            lambda: runs_of_incident(incident_reference=incident.reference).filter(state="succeeded").first(),
            seconds=self._patience(120),
        )
        finished = self._until(
            "the SLO is steady again and the chaos run has its verdict", lambda: self._ended(run.reference), seconds=330
        )
        if finished.verdict != Verdict.PASSED:
            raise StoryError(f"the chaos run ended {finished.verdict}: {finished.reason}")
        self._until(
            f"{incident.reference} is resolved, its review drafted",
            lambda: self._resolved(incident.reference),
            seconds=240,
        )

    def _started(self, experiment: Any) -> Any:
        """Start the run where every guard agrees; the plan is approved anew where its targets have changed."""
        if self.watch:
            return live_runs().filter(revision__experiment=experiment).first()
        try:
            return request_run(principal=person("olga"), experiment=experiment)
        except GuardRefusedError as refusal:
            against = {decision.guard: decision.reason for decision in refusal.decisions if not decision.allowed}
        except InputRefusedError as refusal:
            against = {"targets": str(refusal)}
        if set(against) == {"approval"}:
            approve_plan(principal=person("bob"), experiment=experiment)
            self._note("Bob approves the plan: two of three model servers will freeze")
        elif against != self.against:
            self._note("not yet: " + "; ".join(f"{guard}: {reason}" for guard, reason in against.items()))
        self.against = against
        return None

    def _frozen(self, run: Any) -> Any:
        """Return the fault once it is in place. Raises FaultGoneError when the run ended without one."""
        fault = run.faults.filter(state=FaultState.ACTIVE).first()
        run.refresh_from_db()
        if fault is None and run.state == RunState.FINISHED:
            raise FaultGoneError
        return fault

    def _calm(self) -> bool:
        slo = slo_by_slug(slug=SLO)
        status = budget_status(slo=slo) if slo else None
        return bool(
            status
            and status.measured_recently
            and status.counts.total >= EVENTS_NEEDED
            and not firing_burn_alerts().filter(slo__service__slug="gateway").exists()
            and not open_incidents().exists()
            and not live_runs().exists()
            and engaged_kill_switch() is None
        )

    @staticmethod
    def _ended(reference: str) -> Any:
        run = run_by_reference(reference=reference)
        return run if run is not None and run.state == RunState.FINISHED else None

    @staticmethod
    def _resolved(reference: str) -> bool:
        incident = incident_by_reference(reference=reference)
        return incident is not None and incident.status == "resolved" and timeline_of(incident=incident).exists()

    def _prove(self) -> None:
        counts: dict[str, int] = {}

        def all_proven() -> bool:
            # An entry counts once it is sealed, some seconds after what it tells of.
            run_checks()
            counts.update(self._new_evidence())
            return all(counts.get(ref) for ref in PROVEN)

        try:
            self._until("the controls have read what happened", all_proven, seconds=90)
        except StoryError as error:
            missing = [ref for ref in PROVEN if not counts.get(ref)]
            raise StoryError(f"no new evidence for {', '.join(missing)}") from error
        shown = ", ".join(f"{ref} {counts[ref]}" for ref in PROVEN)
        self._note(f"new entries behind the controls of each requirement: {shown}")
        found = verify_log()
        if not found.holds:
            raise StoryError(f"the ledger does not hold: {found.problems[0]}")
        self._note(
            f"the ledger holds: {found.entries} entries, {entries(types=['chaos.run_finished']).count()} chaos runs"
        )

    def _new_evidence(self) -> dict[str, int]:
        """Return, for each requirement, how many entries recorded since the beginning its controls rest on."""
        now = database_now()
        window = window_to(now)
        new = set(entries(since=self.began_at).values_list("pk", flat=True))
        access = access_of(person("carol"))
        controls = {control.slug: control for control in controls_visible(access=access)}
        counts: dict[str, int] = {}
        for framework in frameworks_visible(access=access):
            for standing in requirement_standings(framework, window=window, now=now):
                if standing.ref in PROVEN:
                    lines = [
                        line
                        for served in standing.controls
                        for line in evidence_of(controls[served.slug], window=window, limit=1000)
                    ]
                    counts[standing.ref] = len(new.intersection(line.pk for line in lines))
        return counts

    def _audit(self) -> None:
        ada = person("ada")
        engagement = engagements_visible(access=access_of(ada)).filter(slug=AUDIT).first()
        if engagement is None:
            raise StoryError("the auditor does not see her engagement")
        self._ask("Ada makes an evidence pack", f"/audits/{AUDIT}/")
        if not self.watch:
            request_export(principal=ada, engagement=engagement)

        def done() -> Any:
            asked_for = exports_visible(access=access_of(ada)).filter(requested_at__gte=self.began_at)
            return asked_for.filter(requested_by=ada.reference, state__in=("completed", "failed")).first()

        export = self._until("Ada, the auditor, exports her evidence pack", done, seconds=self._patience(180))
        if export.state == export.State.FAILED:
            raise StoryError(f"the export failed: {export.last_error}")
        content = read_artifact(export.sha256)
        if content is None:
            raise StoryError("the pack's file is gone")
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(io.BytesIO(content)) as pack:
                pack.extractall(folder)
            verifier = next(Path(folder).rglob("verify.py"))
            answer = subprocess.run(  # noqa: S603 the pack's own script, as the auditor runs it
                [sys.executable, str(verifier), "--key", public_verifier_key()],
                cwd=verifier.parent,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        if answer.returncode != 0:
            raise StoryError(f"verify.py says no:\n{answer.stdout}{answer.stderr}")
        self._note("verify.py says yes")

    def _until(self, what: str, condition: Callable[[], Answer | None], *, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise StoryError(f"did not happen within {seconds:.0f} s: {what}")
            if self.fault and not action_is_active(self.fault.action, self.fault.arguments, self.fault.output):
                raise FaultGoneError
            time.sleep(0.5)
        self._note(what)
        return found

    def _ask(self, what: str, path: str) -> None:
        if self.watch:
            self._note(f"yours to do: {what}, at {path}")

    def _patience(self, seconds: float) -> float:
        """Return how long to wait for what the site does by itself, or people do."""
        return SECONDS_FOR_PEOPLE if self.watch else seconds

    def _note(self, what: str) -> None:
        self.say(f"{time.monotonic() - self.began:6.1f} s  {what}")


def _is_acknowledged(incident: Any) -> bool:
    incident.refresh_from_db()
    return incident.acknowledged_at is not None


def person(username: str) -> Principal:
    """Return one of the demo's people, with their own rights. Raises StoryError."""
    user = user_by_username(username=username)
    if user is None:
        raise StoryError("the demo organization is not loaded: manage.py demo load")
    return principal_for_user(user=user)
