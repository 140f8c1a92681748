"""What the demo organization does about Assay itself, so that the controls over it have something to say.

Nothing is written into the ledger from here: people of the demo use the services that every organization uses (and the
sign-in page of the running site), and the site's workers do the rest.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import requests

from accounts.data import Principal, Role
from accounts.selectors import principal_for_user, user_by_username
from accounts.services import apply_documents, create_user, deactivate_user, grant_role
from catalog.selectors import service_by_slug
from catalog.services import record_deployment
from chaos.data import RunState as ChaosState
from chaos.selectors import recovery_test_by_slug
from chaos.services.recovery import RecoveryRefusedError, request_recovery_run
from compliance.selectors import access_of, frameworks_visible, requirement_standings, window_to
from compliance.services import run_checks
from compliance.services.reviewing import accounts_of_assay, close_campaign, decide_access, open_campaign
from compliance.services.scan_runs import request_scan
from compliance.services.scanning import checkov_path
from compliance.services.weaknesses import import_sarif
from core.clock import database_now
from core.parsing import InputRefusedError, load_yaml_documents
from demo.services.people import PASSWORD
from runbooks.data import RunState
from runbooks.services import approve_step, start_run

ORGANIZATION = Path(__file__).resolve().parent.parent / "org"
DEPLOYMENT = ORGANIZATION.parent.parent / "deploy"
RESTORE = "assay-backup-restore"
ROLLOUT = "model-servers-roll"
# About Assay itself: who gets in, what is logged, whether it comes back.
REQUIREMENTS = {
    "soc2": ("CC6.1", "CC6.2", "CC6.3", "CC7.1", "CC8.1"),
    "iso27001": ("A.5.15", "A.5.16", "A.5.17", "A.5.18", "A.8.2", "A.8.5", "A.8.13", "A.8.15"),
}


class PracticeError(RuntimeError):
    """Something that the organization does about Assay could not be done."""


@dataclass
class Practice:
    """Does it; `say` gets one line for each thing done."""

    site: str
    say: Callable[[str], None]
    seconds: float = 900
    left: list[str] = field(default_factory=list)

    def go(self) -> list[dict[str, str]]:
        """Do everything, then say how each requirement stands. Raises PracticeError."""
        self._sign_in()
        self._rules()
        self._leaver()
        self._review()
        scan, restore = self._scan(), self._restore()
        self._weaknesses()
        self._rollout()
        self._await("the scan of the deployment files", scan)
        self._await("the backup and its restore", restore)
        return self._standings()

    def _sign_in(self) -> None:
        """Carol signs in to the running site, looks at the audit log, and signs out."""
        with requests.Session() as browser:
            page = browser.get(f"{self.site}/sign-in/", timeout=30)
            page.raise_for_status()
            form = {"username": "carol", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            answer = browser.post(f"{self.site}/sign-in/", data=form, timeout=30, allow_redirects=False)
            if answer.status_code != requests.codes.found:
                raise PracticeError(f"Carol could not sign in at {self.site}: {answer.status_code}")
            token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            browser.post(f"{self.site}/sign-out/", data=token, timeout=30).raise_for_status()
        self.say("Carol has signed in and out")

    def _rules(self) -> None:
        name = "sign-in.yaml"
        documents = load_yaml_documents((ORGANIZATION / name).read_text("utf-8"), source=name)
        apply_documents(principal=person("admin"), documents=documents, source=name)
        self.say(
            "Adam has set the rules of signing in: administrators need a second factor, "
            "and their next sign-in leads to its set-up (docs/tutorial.md, step 7)"
        )

    def _leaver(self) -> None:
        """Somebody joins, gets a role, and leaves; everything that they held ends."""
        username = f"temporary-{database_now():%Y%m%d%H%M%S}"
        admin = person("admin")
        user = create_user(principal=admin, username=username, password=None, full_name="Temporary help")
        grant_role(principal=admin, user=user, role=Role.VIEWER)
        deactivate_user(principal=admin, user=user)
        self.say(f"{username} has come and gone: account, role, tokens and sessions are closed")

    def _review(self) -> None:
        now = database_now()
        slug = f"assay-{now:%Y-%m-%d}"
        try:
            campaign = open_campaign(
                principal=person("carol"),
                slug=slug,
                name="Who may do what in Assay",
                system="assay",
                source="assay",
                due_on=(now + timedelta(days=7)).date(),
                accounts=accounts_of_assay(),
            )
        except InputRefusedError as error:
            self.left.append(f"no further access review today: {error}")
            return
        for entry in campaign.entries.all():
            reviewer = person("admin" if entry.account == "carol" else "carol")
            decide_access(principal=reviewer, entry=entry, decision="keep", note="holds what the work needs")
        close_campaign(principal=person("carol"), campaign=campaign)
        self.say(f"Carol and Adam have reviewed {campaign.accounts_in_source} accounts, nobody their own")

    def _scan(self) -> Callable[[], bool]:
        if not checkov_path().exists():
            self.left.append("the deployment files were not scanned: make checkov installs the scanner")
            return lambda: True
        run = request_scan(principal=person("admin"), path=str(DEPLOYMENT))

        def done() -> bool:
            run.refresh_from_db()
            return run.finished_at is not None

        return done

    def _weaknesses(self) -> None:
        """Carol hands in what a scanner says of the deployment files, as its own report."""
        if not checkov_path().exists():
            self.left.append("no report of weaknesses: make checkov installs a scanner")
            return
        with tempfile.TemporaryDirectory() as folder:
            command = [str(checkov_path()), "-d", str(DEPLOYMENT), "--framework", "dockerfile", "kubernetes"]
            command += ["-o", "sarif", "--output-file-path", folder, "--soft-fail", "--skip-download"]
            subprocess.run(command, capture_output=True, timeout=self.seconds, check=True)  # noqa: S603 a fixed command
            raw = next(Path(folder).glob("*.sarif")).read_bytes()
        made = import_sarif(principal=person("carol"), raw=raw, scope="repo:assay/deploy", source="checkov.sarif")
        self.say(f"Carol has handed in a scanner's report: {sum(one.results for one in made)} findings")

    def _rollout(self) -> None:
        """Alice rolls out the model servers by the runbook, Bob agrees, and the pipeline reports the deployment."""
        service, begun = service_by_slug(slug="model-server"), database_now()
        if service is None:
            raise PracticeError("the demo organization is not loaded: manage.py demo load")
        run = start_run(
            principal=person("alice"),
            runbook_slug=ROLLOUT,
            inputs={},
            trigger="a change",
            idempotency_key=f"rollout:{begun:%Y%m%d%H%M%S}",
        )

        def in_state(*states: RunState) -> Callable[[], bool]:
            def asked() -> bool:
                run.refresh_from_db()
                return run.state in states

            return asked

        ended = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.ROLLED_BACK)
        self._await(f"{run.reference} asks for approval", in_state(RunState.WAITING, *ended), aloud=False)
        if run.state == RunState.WAITING:
            approve_step(principal=person("bob"), run=run, step_id="agree")
            self._await(f"{run.reference} has rolled out the model servers", in_state(*ended), aloud=False)
        went_well = run.state == RunState.SUCCEEDED
        record_deployment(
            principal=person("admin"),
            reference=f"rollout-{run.reference}",
            service=service,
            author="alice",
            approver="bob",
            ticket=run.reference,
            started_at=begun,
            finished_at=database_now(),
            tests_passed=went_well,
            result="succeeded" if went_well else "failed",
        )
        self.say(
            f"Alice has rolled out the model servers, Bob had agreed, the checks between: {run.get_state_display()}"
        )

    def _restore(self) -> Callable[[], bool]:
        test = recovery_test_by_slug(slug=RESTORE)
        if test is None:
            raise PracticeError("the demo organization is not loaded: manage.py demo load")
        try:
            run = request_recovery_run(principal=person("olga"), test=test)
        except RecoveryRefusedError as error:
            self.left.append(f"the restore was not tried: {error}")
            return lambda: True

        def done() -> bool:
            run.refresh_from_db()
            return run.state == ChaosState.FINISHED

        return done

    def _await(self, what: str, done: Callable[[], bool], *, aloud: bool = True) -> None:
        deadline = time.monotonic() + self.seconds
        while not done():
            if time.monotonic() > deadline:
                raise PracticeError(f"{what} did not end within {self.seconds:.0f} seconds")
            time.sleep(1)
        if aloud:
            self.say(f"{what}: done")

    def _standings(self) -> list[dict[str, str]]:
        for line in self.left:
            self.say(line)
        # An entry counts once it is sealed, some seconds after what it tells of.
        time.sleep(10)
        run_checks()
        now = database_now()
        return [
            {
                "framework": framework.slug,
                "ref": one.ref,
                "standing": one.judgement.standing.value,
                "counted": one.judgement.counted,
                "reason": one.judgement.reason,
            }
            for framework in frameworks_visible(access=access_of(person("carol")))
            for one in requirement_standings(framework, window=window_to(now), now=now)
            if one.ref in REQUIREMENTS.get(framework.slug, ())
        ]


def person(username: str) -> Principal:
    """Return somebody of the demo with the rights that they have."""
    user = user_by_username(username=username)
    if user is None:
        raise PracticeError("the demo organization is not loaded: manage.py demo load")
    return principal_for_user(user=user)
