"""What comes from elsewhere counts only as what it is: signed evidence, scanners' reports, changes, access reviews."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Principal, Role
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.data import Outcome
from compliance.domain.attestations import (
    PAYLOAD_TYPE,
    PREDICATE,
    STATEMENT,
    Envelope,
    ForgedError,
    opened,
    pre_authentication,
)
from compliance.models import AccessCampaign, ChangeSource, Evidence, FindingReport, Occurrence, SecurityFinding
from compliance.services import run_checks
from compliance.services.changes import fetch_changes, save_change_source
from compliance.services.pushing import add_collector_key, push_evidence, revoke_collector_key
from compliance.services.reviewing import (
    accounts_of_assay,
    accounts_of_csv,
    accounts_of_github,
    accounts_of_rest,
    close_campaign,
    compare_with_source,
    confirm_revocation,
    decide_access,
    open_campaign,
)
from compliance.services.weaknesses import import_penetration_test, import_sarif
from core.parsing import InputRefusedError
from ledger.selectors import entries
from ledger.services import seal_pending

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
FILE = b"a,b\r\n1,2\r\n"
SECRET = "a secret of the webhook"


def envelope(key: Ed25519PrivateKey = KEY, keyid: str = "backup-host", **changes: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    predicate = {
        "control": "backups-restored",
        "title": "Restore log",
        "source": "backup host",
        "period_start": (now - timedelta(days=2)).isoformat(),
        "period_end": (now - timedelta(days=1)).isoformat(),
        **changes,
    }
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": "log.csv", "digest": {"sha256": hashlib.sha256(FILE).hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": predicate,
    }
    payload = orjson.dumps(statement)
    signature = base64.b64encode(key.sign(pre_authentication(PAYLOAD_TYPE, payload))).decode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": signature}],
    }


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
class TestPushedEvidence:
    @pytest.fixture(autouse=True)
    def _trusted(self, manager: Principal) -> None:
        self.key = add_collector_key(principal=manager, name="backup-host", public_key=PUBLIC)

    def test_what_a_known_collector_signed_waits_for_review(self, manager: Principal) -> None:
        made = push_evidence(principal=manager, envelope=envelope(external_id="run-7"), content=FILE)
        assert (made.kind, made.state, made.collector) == ("pushed", "submitted", "backup-host")
        assert made.sha256 == hashlib.sha256(FILE).hexdigest()
        with pytest.raises(InputRefusedError, match="run-7"):
            push_evidence(principal=manager, envelope=envelope(external_id="run-7"), content=FILE)

    @pytest.mark.parametrize(
        ("bent", "reason"),
        [
            (lambda one: one | {"payload": base64.b64encode(b"{}").decode()}, "does not fit"),
            (lambda one: one | {"payloadType": "text/plain"}, "payload type"),
            (lambda one: one | {"payload": "###"}, "not base64"),
            (lambda _: envelope(Ed25519PrivateKey.generate()), "does not fit"),
            (lambda _: envelope(keyid="stranger"), "no signature names a key"),
            (lambda one: one | {"extra": 1}, "extra"),
            (lambda _: envelope(control="no-such"), "no-such"),
            (lambda _: envelope(period_start="yesterday"), "period_start"),
        ],
    )
    def test_what_is_forged_is_refused_with_the_reason_and_recorded(
        self, bent: Callable[[dict[str, Any]], dict[str, Any]], reason: str, manager: Principal
    ) -> None:
        with pytest.raises(InputRefusedError, match=reason):
            push_evidence(principal=manager, envelope=bent(envelope()), content=FILE)
        assert not Evidence.objects.exists()
        refused = entries(types=["evidence.refused"]).get().payload
        assert refused is not None
        assert refused["by_rule"]

    def test_another_file_than_the_one_signed_is_refused(self, manager: Principal) -> None:
        with pytest.raises(InputRefusedError, match="SHA-256"):
            push_evidence(principal=manager, envelope=envelope(), content=FILE + b"x")

    def test_a_claim_about_the_future_is_put_aside(self, manager: Principal) -> None:
        later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
        made = push_evidence(principal=manager, envelope=envelope(period_end=later), content=FILE)
        assert (made.state, "still to come" in made.reason) == ("quarantined", True)

    def test_a_revoked_key_signs_nothing_more(self, manager: Principal) -> None:
        revoke_collector_key(principal=manager, key=self.key)
        with pytest.raises(InputRefusedError, match="revoked"):
            push_evidence(principal=manager, envelope=envelope(), content=FILE)

    def test_the_api_tells_the_sender(self) -> None:
        client = Client()
        client.force_login(User.objects.get(username="carol"))
        body = {"envelope": envelope(), "file": base64.b64encode(FILE).decode()}
        answer = client.post("/api/v1/compliance/evidence/", json.dumps(body), content_type="application/json")
        assert (answer.status_code, answer.json()["state"]) == (201, "submitted")
        body = {"envelope": envelope() | {"payloadType": "x"}}
        answer = client.post("/api/v1/compliance/evidence/", json.dumps(body), content_type="application/json")
        assert answer.status_code == 400
        assert "payload type" in answer.content.decode()


@given(st.binary(max_size=40), st.integers(0, 500))
def test_one_flipped_bit_anywhere_is_noticed(payload: bytes, bit: int) -> None:
    signature = KEY.sign(pre_authentication(PAYLOAD_TYPE, payload))
    whole = bytearray(payload + signature)
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    bent, mark = bytes(whole[: len(payload)]), bytes(whole[len(payload) :])
    made = Envelope(
        payload=base64.b64encode(bent).decode(),
        payloadType=PAYLOAD_TYPE,
        signatures=[{"keyid": "k", "sig": base64.b64encode(mark).decode()}],
    )
    with pytest.raises(ForgedError):
        opened(made, {"k": base64.b64decode(PUBLIC)})


REPORTED = ("vulnerabilities-handled", "penetration-tested")


def sarif(*rules: str, **run: Any) -> bytes:
    results = [
        {
            "ruleId": rule,
            "level": "error",
            "message": {"text": f"{rule} is bad\nsecret=hunter2"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 3}}}],
        }
        for rule in rules
    ]
    driver = {"name": "scanner", "version": "1", "rules": [{"id": "R9", "properties": {"security-severity": "9.8"}}]}
    return orjson.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results, **run}]})


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
class TestWeaknesses:
    def test_a_finding_is_new_then_known_then_gone(self, manager: Principal) -> None:
        import_sarif(principal=manager, raw=sarif("R1", "R9"), scope="repo:gateway")
        import_sarif(principal=manager, raw=sarif("R1"), scope="repo:gateway")
        import_sarif(principal=manager, raw=sarif(), scope="repo:other")
        found = {one.rule: one for one in SecurityFinding.objects.all()}
        assert (found["R1"].gone_at, found["R9"].gone_at is not None, found["R9"].severity) == (None, True, "critical")
        assert "hunter2" not in found["R1"].title
        told = [entry.payload for entry in entries(types=["scan.findings_imported"]) if entry.payload]
        assert [(one["new"], one["known"], one["gone"]) for one in reversed(told)] == [(2, 0, 0), (0, 1, 1), (0, 0, 0)]

    def test_a_report_counts_for_its_control_whatever_was_scanned(self, manager: Principal) -> None:
        import_sarif(principal=manager, raw=sarif(), scope="repo:gateway")
        csv = b"id,title,severity\nP1,Old cipher,low\n"
        import_penetration_test(
            principal=manager, raw=csv, tester="Outsiders", scope="the site", ended_at=timezone.now()
        )
        seal_pending()
        run_checks()
        happened = Occurrence.objects.filter(outcome=Outcome.PASSED, check_run__control__slug__in=REPORTED)
        assert set(happened.values_list("check_run__control__slug", flat=True)) == set(REPORTED)

    def test_an_older_report_undoes_nothing(self, manager: Principal) -> None:
        import_sarif(principal=manager, raw=sarif(), scope="s", scanned_at=timezone.now())
        import_sarif(principal=manager, raw=sarif("R1"), scope="s", scanned_at=timezone.now() - timedelta(days=2))
        assert not SecurityFinding.objects.exists()

    @pytest.mark.parametrize(
        "raw",
        [
            b"{}",
            b"not json",
            orjson.dumps({"version": "2.1.0", "runs": []}),
            sarif("R1", invocations=[{"executionSuccessful": False}]),
            sarif("R1", results=None),
            orjson.dumps({"version": "2.1.0", "runs": [{"tool": {}}]}),
        ],
    )
    def test_what_proves_nothing_is_refused(self, raw: bytes, manager: Principal) -> None:
        with pytest.raises(InputRefusedError):
            import_sarif(principal=manager, raw=raw, scope="s")
        assert not FindingReport.objects.exists()

    def test_a_penetration_test_is_a_table(self, manager: Principal) -> None:
        good = b"id,title,severity\r\nP-1,Open port,High\r\n"
        made = import_penetration_test(
            principal=manager, raw=good, tester="Red team", scope="edge", ended_at=timezone.now()
        )
        assert (made.kind, SecurityFinding.objects.get().severity) == ("penetration-test", "high")
        for bad in (b"id,title\r\n1,2\r\n", b"id,title,severity\r\nP-1,x,awful\r\n", good + b"P-1,again,low\r\n"):
            with pytest.raises(InputRefusedError):
                import_penetration_test(
                    principal=manager, raw=bad, tester="Red team", scope="edge", ended_at=timezone.now()
                )


class Forge(BaseHTTPRequestHandler):
    """Answers as the APIs of GitHub, GitLab and a plain list do."""

    answers: dict[str, Any] = {}

    def do_GET(self) -> None:
        found = self.answers.get(self.path)
        body = orjson.dumps(found if found is not None else {"message": "Not Found"})
        self.send_response(404 if found is None else 200)
        if self.path == "/accounts":
            self.send_header("Link", '</accounts?page=2>; rel="next"'.replace("</", f"<http://{self.headers['Host']}/"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def forge() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Forge)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=30)


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
class TestAccessReviews:
    def start(self, principal: Principal, raw: bytes, **changes: Any) -> AccessCampaign:
        given: dict[str, Any] = {
            "slug": "q4",
            "name": "Fourth quarter",
            "system": "production",
            "source": "csv",
            "due_on": timezone.now().date() + timedelta(days=14),
            "accounts": accounts_of_csv(raw, source="a.csv"),
        }
        return open_campaign(principal=principal, **(given | changes))

    def test_every_account_is_decided_by_somebody_else_and_revocations_are_tracked(
        self, manager: Principal, person: Callable[..., User]
    ) -> None:
        raw = b"account,person,privileged,second_factor\r\nroot,,yes,no\r\ncarol,carol,,yes\r\nold,olga,,\r\n"
        campaign = self.start(manager, raw)
        rows = {one.account: one for one in campaign.entries.select_related("campaign")}
        assert (rows["root"].privileged, rows["root"].second_factor) == (True, False)
        decide_access(principal=manager, entry=rows["root"], decision="keep")
        decide_access(principal=manager, entry=rows["old"], decision="revoke", note="left in May")
        with pytest.raises(InputRefusedError, match="own account"):
            decide_access(principal=manager, entry=rows["carol"], decision="keep")
        with pytest.raises(InputRefusedError, match="without a decision"):
            close_campaign(principal=manager, campaign=campaign)
        other = principal_for_user(user=person("dora", Role.COMPLIANCE_MANAGER))
        decide_access(principal=other, entry=rows["carol"], decision="keep")
        with pytest.raises(InputRefusedError):
            confirm_revocation(principal=manager, entry=rows["root"])
        left = accounts_of_csv(b"account\r\nroot\r\ncarol\r\n", source="b.csv")
        assert compare_with_source(principal=manager, campaign=campaign, accounts=left) == 1
        close_campaign(principal=manager, campaign=campaign)
        said = entries(types=["access.reviewed"]).get().payload
        assert said is not None
        assert (said["accounts_in_source"], said["accounts_reviewed"], said["revoked"], said["revocations_done"]) == (
            3,
            3,
            1,
            1,
        )
        with pytest.raises(InputRefusedError, match="ended"):
            decide_access(principal=manager, entry=AccessCampaign.objects.get().entries.all()[0], decision="keep")

    @pytest.mark.parametrize(
        "raw",
        [
            b"name\r\nx\r\n",
            b"account\r\n",
            b"account\r\na\r\na\r\n",
            b"account,last_used_at\r\na,yesterday\r\n",
            b"account\r\na,b\r\n",
            b"\xff\xfe",
        ],
    )
    def test_a_table_with_wrong_columns_or_values_is_refused(self, raw: bytes, manager: Principal) -> None:
        with pytest.raises(InputRefusedError):
            self.start(manager, raw)
        assert not AccessCampaign.objects.exists()

    def test_accounts_come_from_this_site_from_github_and_from_rest(
        self, manager: Principal, forge: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "carol" in {one.account for one in accounts_of_assay()}
        members = "/orgs/acme/members?per_page=100&role="
        monkeypatch.setattr(
            Forge,
            "answers",
            {
                f"{members}admin": [{"login": "root"}],
                f"{members}member": [{"login": "bob"}],
                "/accounts": [{"account": "a", "roles": ["x", "y"], "privileged": True}],
                "/accounts?page=2": [{"account": "b"}],
            },
        )
        here = ("127.0.0.1",)
        found = accounts_of_github(organization="acme", token="t", api_url=forge, allow=here)
        assert {(one.account, one.privileged) for one in found} == {("root", True), ("bob", False)}
        listed = accounts_of_rest(address=f"{forge}/accounts", allow=here)
        assert [(one.account, one.roles, one.privileged) for one in listed] == [("a", "x y", True), ("b", "", False)]
        with pytest.raises(InputRefusedError):
            accounts_of_rest(address=f"{forge}/nothing", allow=here)
        with pytest.raises(InputRefusedError):
            accounts_of_rest(address=f"{forge}/accounts")

    def test_pages_lead_through_a_review(self, manager: Principal) -> None:
        client = Client()
        client.force_login(User.objects.get(username="carol"))
        campaign = self.start(manager, b"account\r\nold\r\n")
        page = f"/compliance/access/{campaign.slug}/"
        row = campaign.entries.get()
        assert "old" in client.get(page).content.decode()
        client.post(page, {"entry": row.pk, "do": "revoke"})
        client.post(page, {"entry": row.pk, "do": "gone"})
        client.post(page, {"do": "close"})
        campaign.refresh_from_db()
        assert campaign.closed_at is not None
        for path in ("", "add/"):
            assert client.get(f"/compliance/access/{path}").status_code == 200


def github_body(**changes: Any) -> dict[str, Any]:
    pull = {
        "number": 7,
        "title": "Faster",
        "user": {"login": "alice"},
        "merged": True,
        "merged_by": {"login": "alice"},
        "merged_at": "2026-11-01T10:00:00Z",
        "merge_commit_sha": "abc",
        "html_url": "https://github.example/acme/gateway/pull/7",
    }
    return {"action": "closed", "repository": {"full_name": "acme/gateway"}, "pull_request": pull, **changes}


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
class TestChanges:
    def source(self, principal: Principal, **changes: Any) -> ChangeSource:
        given = {"slug": "gateway", "forge": "github", "repository": "acme/gateway", "secret": SECRET}
        return save_change_source(principal=principal, **(given | changes))

    def send(self, event: str, body: dict[str, Any], *, secret: str = SECRET) -> int:
        raw = json.dumps(body).encode()
        signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        headers = {"X-GitHub-Event": event, "X-Hub-Signature-256": signature}
        answer = Client().post("/hooks/changes/gateway/", raw, content_type="application/json", headers=headers)
        return answer.status_code

    def recorded(self) -> list[dict[str, Any]]:
        return [entry.payload for entry in entries(types=["change.merged"]) if entry.payload]

    def test_author_and_approvers_come_from_webhooks(self, manager: Principal) -> None:
        self.source(manager)
        for who in ("alice", "bob"):
            review = {"user": {"login": who}, "state": "approved"}
            assert self.send("pull_request_review", github_body(action="submitted", review=review)) == 200
        assert self.send("pull_request", github_body()) == 200
        assert self.send("pull_request", github_body()) == 200
        (said,) = self.recorded()
        assert (said["author"], said["approvers"], said["approved_by_another"]) == ("alice", ["alice", "bob"], True)

    def test_an_author_who_approves_alone_is_seen(self, manager: Principal) -> None:
        self.source(manager)
        review = {"user": {"login": "alice"}, "state": "approved"}
        self.send("pull_request_review", github_body(action="submitted", review=review))
        self.send("pull_request", github_body())
        assert not self.recorded()[0]["approved_by_another"]

    def test_a_webhook_that_is_not_signed_or_of_another_repository_is_refused(self, manager: Principal) -> None:
        source = self.source(manager)
        assert self.send("pull_request", github_body(), secret="another secret of it") == 403
        assert self.send("pull_request", github_body(repository={"full_name": "acme/other"})) == 422
        source.refresh_from_db()
        assert "acme/other" in source.last_error
        assert not self.recorded()

    def test_the_api_adds_approvals_and_checks(
        self, manager: Principal, forge: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = "/repos/acme/gateway"
        listed = f"{base}/pulls?state=closed&sort=updated&direction=desc&per_page=100"
        monkeypatch.setattr(
            Forge,
            "answers",
            {
                listed: [github_body()["pull_request"], {"number": 8, "merged_at": None}],
                f"{base}/pulls/7/reviews?per_page=100": [
                    {"user": {"login": "bob"}, "state": "APPROVED"},
                    {"user": {"login": "eve"}, "state": "APPROVED"},
                    {"user": {"login": "eve"}, "state": "DISMISSED"},
                ],
                f"{base}/commits/abc/check-runs?per_page=100": {"check_runs": [{"conclusion": "failure"}]},
            },
        )
        source = self.source(manager, token="t", api_url=forge, allow=("127.0.0.1",))
        assert fetch_changes(principal=manager, source=source) == 1
        assert fetch_changes(principal=manager, source=source) == 0
        (said,) = self.recorded()
        assert (said["approvers"], said["checks_passed"], said["approved_by_another"]) == (["bob"], False, True)

    def test_gitlab_tells_it_too(self, manager: Principal, forge: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source(manager, forge="gitlab", repository="acme/gateway")
        project = {"path_with_namespace": "acme/gateway"}
        merge = {"iid": 3, "title": "Faster", "author_username": "alice", "updated_at": "2026-11-01 10:00:00 UTC"}
        for action, who in (("approved", "bob"), ("merge", "alice")):
            body = {"project": project, "user": {"username": who}, "object_attributes": merge | {"action": action}}
            headers = {"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Token": SECRET}
            raw = json.dumps(body)
            answer = Client().post("/hooks/changes/gateway/", raw, content_type="application/json", headers=headers)
            assert answer.status_code == 200
        (said,) = self.recorded()
        assert (said["author"], said["approvers"]) == ("alice", ["bob"])
        monkeypatch.setattr(Forge, "answers", {})
        other = self.source(manager, slug="x", forge="gitlab", api_url=forge, allow=("127.0.0.1",))
        with pytest.raises(InputRefusedError):
            fetch_changes(principal=manager, source=other)
