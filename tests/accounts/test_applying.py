"""Providers and rules as YAML and on the command line."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.data import system_principal
from accounts.models import GroupMapping, IdentityProvider, SignInPolicy, User
from accounts.services import create_team, create_user, sign_in_failed, sign_in_is_locked
from ledger.selectors import entries

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
DOCUMENTS = """
apiVersion: assay/v1
kind: IdentityProvider
metadata: {name: okta, title: Okta}
spec:
  protocol: oidc
  configuration: {issuer: "https://login.example.org", client_id: assay}
  secretFile: SECRET
  mappings:
    - {group: SRE, role: responder, team: inference}
    - {group: Platform, team: inference}
---
apiVersion: assay/v1
kind: SignInPolicy
metadata: {name: site}
spec: {secondFactorRoles: [admin], idleMinutes: 30}
"""


def written(folder: Path, text: str) -> str:
    (folder / "secret").write_text("from a file\n")
    (folder / "sign-in.yaml").write_text(text.replace("SECRET", str(folder / "secret")))
    return str(folder / "sign-in.yaml")


def test_documents_hold_together_and_again_change_nothing(tmp_path: Path) -> None:
    create_team(principal=SITE, slug="inference", name="Inference")
    path = written(tmp_path, DOCUMENTS)
    call_command("account", "apply", path)
    provider = IdentityProvider.objects.get()
    assert (provider.name, provider.secret) == ("Okta", "from a file")
    assert {(one.group, one.role) for one in GroupMapping.objects.all()} == {("SRE", "responder"), ("Platform", "")}
    assert SignInPolicy.objects.get().second_factor_roles == ["admin"]
    recorded = entries(types=["access.rules_changed"]).count()
    call_command("account", "apply", path)
    assert entries(types=["access.rules_changed"]).count() == recorded == 1


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("protocol: oidc", "protocol: telepathy", "protocol"),
        ("client_id: assay", "client: assay", "client"),
        ("https://login.example.org", "javascript:alert(1)", "an address like"),
        ("team: inference}", "team: nowhere}", "slug of a team"),
        ("role: responder", "role: emperor", "role"),
        ("SECRET", "/nowhere/secret", "No such file"),
        ("idleMinutes: 30", "idleMinutes: 0", "1 to 720"),
    ],
)
def test_a_document_that_does_not_fit_changes_nothing(
    tmp_path: Path, was: str, becomes: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create_team(principal=SITE, slug="inference", name="Inference")
    with pytest.raises(CommandError):
        call_command("account", "apply", written(tmp_path, DOCUMENTS.replace(was, becomes)))
    assert said in capsys.readouterr().err
    assert not IdentityProvider.objects.exists()
    assert not SignInPolicy.objects.exists()


def test_the_command_line_unlocks_and_makes_break_glass(capsys: pytest.CaptureFixture[str]) -> None:
    create_user(principal=SITE, username="ada", password=None)
    for _ in range(8):
        sign_in_failed(username="ada", address="192.0.2.1")
    call_command("account", "unlock", "ada")
    assert not sign_in_is_locked(username="ada", address="192.0.2.9")
    call_command("account", "break-glass", "ada")
    assert User.objects.get().is_break_glass
    assert "break-glass account" in capsys.readouterr().out
