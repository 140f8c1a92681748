"""A site is checked, upgraded and its key rotated by `manage.py site`."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.models.functions import Cast
from django.utils import timezone

from accounts.data import system_principal
from core.broker import remote_options
from core.rekeying import survey_keys
from core.releases import WorkFormat, enter_release
from core.work import PeriodicJob, queue_formats
from delivery.models import Endpoint
from delivery.services import create_endpoint
from drivers.services import site_upgrade
from drivers.services.site_check import Verdict, check_site
from drivers.services.site_database import SiteError
from drivers.services.site_health import site_health
from drivers.services.site_keys import forget_previous_keys, make_new_key, rotate_keys
from drivers.services.site_upgrade import go_back, plan_upgrade, upgrade_site
from ledger.selectors import entries
from tests.soak.brokers import Redis

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")


@pytest.fixture
def own_state(tmp_path: Path, settings: Any) -> Path:
    """A state folder of the test's own, whose key file holds the key in use."""
    settings.STATE_DIR = tmp_path
    settings.SECRET_KEY_FALLBACKS = []
    settings.LEDGER_KEY_FILE = tmp_path / "ledger_key"
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path / 'artifacts'}"
    (tmp_path / "secret_key").write_text(settings.SECRET_KEY)
    (tmp_path / "secret_key").chmod(0o600)
    settings.ENVIRONMENT = SimpleNamespace(secret_key="", secret_key_previous=())
    return tmp_path


def verdicts() -> dict[str, Verdict]:
    return {one.check: one.verdict for one in check_site(principal=SITE)}


def stored(endpoint: Endpoint) -> str:
    return str(
        Endpoint.objects.annotate(raw=Cast("secret", models.TextField()))
        .values_list("raw", flat=True)
        .get(pk=endpoint.pk)
    )


def an_endpoint(slug: str) -> Endpoint:
    create_endpoint(principal=SITE, slug=slug, url="https://hooks.example.org/")
    return Endpoint.objects.get(slug=slug)


def test_a_site_that_is_as_it_must_be_has_nothing_bad_to_say(own_state: Path) -> None:
    enter_release(version="0", formats={}, by="test")
    found = verdicts()
    assert {found[name] for name in ("database", "clock", "keys", "work", "hold", "storage")} == {Verdict.GOOD}
    # The database of the tests stands at a release that is not this one.
    assert found["versions"] is Verdict.WARNING


def test_the_command_answers_for_scripts(own_state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_state / "secret_key").chmod(0o644)
    with pytest.raises(CommandError) as ended:
        call_command("site", "check", "--format", "json")
    assert ended.value.returncode == 1
    said = {one["check"]: one for one in json.loads(capsys.readouterr().out)}
    assert "chmod 600" in said["keys"]["says"]
    assert said["storage"]["verdict"] == "good"


def test_a_broker_that_is_gone_and_a_full_store_are_told_apart(
    own_state: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_broker(**_: Any) -> Any:
        raise ConnectionError("refused")

    monkeypatch.setattr("drivers.services.site_check.current_app", SimpleNamespace(connection_for_write=no_broker))
    settings.ARTIFACT_STORE_URL = "file:///proc/nowhere"
    found = verdicts()
    assert found["broker"] is Verdict.UNKNOWN
    assert found["storage"] in {Verdict.BAD, Verdict.UNKNOWN}
    assert found["database"] is Verdict.GOOD


@pytest.mark.integration
@pytest.mark.skipif(not Redis.is_installed(), reason="Redis is not installed")
def test_a_broker_that_is_full_is_told_though_it_answers(
    own_state: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis = Redis(tmp_path)
    redis.start()
    try:
        settings.CELERY_BROKER_URL = redis.url
        with Celery("full", broker=redis.url, set_as_current=False) as app:
            app.conf.broker_transport_options = remote_options("redis")
            monkeypatch.setattr("drivers.services.site_check.current_app", app)
            assert verdicts()["broker"] is Verdict.GOOD
            with app.connection_for_write() as connection:
                channel: Any = connection.channel()
                client = channel.client
                assert client.keys("*probe*") == []
                client.config_set("maxmemory", "1")
                health = site_health(principal=SITE)
                client.config_set("maxmemory", "0")
            assert verdicts()["broker"] is Verdict.GOOD
    finally:
        redis.remove()
    [told] = [one for one in health.problems if "takes no messages" in one.says]
    assert "at the limit that was set for it" in told.says
    assert "Work goes on, seconds later." in told.says
    assert told.do == "Start the broker again, or make room in it; nothing is lost meanwhile."


def test_what_is_stored_moves_to_the_new_key_and_the_old_one_is_forgotten(own_state: Path, settings: Any) -> None:
    endpoint = an_endpoint("one")
    secret, before = endpoint.secret, stored(endpoint)
    old = settings.SECRET_KEY
    make_new_key(principal=SITE)
    assert old != settings.SECRET_KEY
    assert (own_state / "secret_key").stat().st_mode & 0o077 == 0
    assert Endpoint.objects.get(pk=endpoint.pk).secret == secret, "the old key is accepted"
    assert verdicts()["keys"] is Verdict.WARNING
    with pytest.raises(SiteError, match="still stored under an older key"):
        forget_previous_keys(principal=SITE)
    newer = an_endpoint("two")
    done = {one.name: one for one in rotate_keys(principal=SITE)}
    assert (done["delivery.Endpoint.secret"].rewritten, done["delivery.Endpoint.secret"].current) == (1, 1)
    assert stored(endpoint) != before
    forget_previous_keys(principal=SITE)
    assert not (own_state / "secret_key_previous").exists()
    assert Endpoint.objects.get(pk=endpoint.pk).secret == secret
    assert Endpoint.objects.get(pk=newer.pk).secret == newer.secret
    (entry,) = entries(types=("recovery.keys_rotated",))
    assert entry.payload is not None
    assert entry.payload["rewritten"] == sum(one.rewritten for one in done.values())


def test_a_rotation_that_was_stopped_goes_on_where_it_was(
    own_state: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.rekeying.BATCH", 2)
    secrets = {slug: an_endpoint(slug).secret for slug in ("a", "b", "c", "d", "e")}
    make_new_key(principal=SITE)

    class StoppedError(Exception):
        pass

    def stop(name: str, seen: int) -> None:
        if name == "delivery.Endpoint.secret" and seen >= 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        rotate_keys(principal=SITE, progress=stop)
    half = next(one for one in survey_keys() if one.name == "delivery.Endpoint.secret")
    assert (half.current, half.older) == (2, 3)
    done = next(one for one in rotate_keys(principal=SITE) if one.name == "delivery.Endpoint.secret")
    assert (done.rewritten, done.current) == (3, 2)
    settings.SECRET_KEY_FALLBACKS = []
    assert dict(Endpoint.objects.values_list("slug", "secret")) == secrets


def test_a_secret_under_a_key_that_nobody_gave_is_counted_and_kept(own_state: Path, settings: Any) -> None:
    endpoint = an_endpoint("one")
    before = stored(endpoint)
    settings.SECRET_KEY = "another"
    done = next(one for one in rotate_keys(principal=SITE) if one.name == "delivery.Endpoint.secret")
    assert (done.unreadable, done.rewritten) == (1, 0)
    assert stored(endpoint) == before
    assert verdicts()["keys"] is Verdict.BAD


def test_an_upgrade_with_nothing_to_do_says_so_and_records_nothing(settings: Any) -> None:
    enter_release(version="0.0.9", formats=queue_formats(), by="test")
    plan = upgrade_site(principal=SITE)
    assert (plan.from_version, plan.now, plan.later) == ("0.0.9", (), ())
    assert not entries(types=("recovery.site_upgraded",)).exists()


def test_a_database_of_a_newer_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_upgrade, "pending_and_unknown", lambda _: ([], [("core", "9999_from_the_future")]))
    with pytest.raises(SiteError, match=r"core\.9999_from_the_future") as refused:
        plan_upgrade(principal=SITE)
    assert refused.value.code == 2


def test_a_process_of_the_release_before_starts_though_a_newer_one_was_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site_upgrade, "pending_and_unknown", lambda _: ([], [("core", "9999_from_the_future")]))
    call_command("site", "upgrade", "--unless-newer")
    said = capsys.readouterr().out
    assert "core.9999_from_the_future" in said
    assert "Nothing was changed" in said
    with pytest.raises(CommandError) as refused:
        call_command("site", "upgrade")
    assert refused.value.returncode == 2


def test_what_an_older_process_could_not_live_with_is_left_for_later() -> None:
    def migration(name: str, *operations: Any, after: str = "") -> migrations.Migration:
        made = migrations.Migration(name, "core")
        vars(made).update(operations=list(operations), dependencies=[("core", after)] if after else [])
        return made

    adds = migration("a", migrations.AddField("sitehold", "more", models.TextField(default="")))
    drops = migration("b", migrations.RemoveField("sitehold", "note"), after="a")
    depends = migration("c", migrations.AddField("sitehold", "most", models.TextField(default="")), after="b")
    executor: Any = SimpleNamespace(
        migration_plan=lambda _: [(one, False) for one in (adds, drops, depends)],
        loader=SimpleNamespace(graph=SimpleNamespace(leaf_nodes=list), applied_migrations={("core", "0001"): None}),
    )
    now, later = site_upgrade._split(executor, contract=False)
    assert ([one.name for one in now], [one.name for one in later]) == (["a"], ["b", "c"])
    now, later = site_upgrade._split(executor, contract=True)
    assert (len(now), later) == (3, [])


def test_a_new_column_takes_rows_of_a_process_that_does_not_know_it() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL keeps the default for older processes")
    added = migrations.Migration("a", "core")
    # A column as it is there: the statement that an older process writes leaves it out.
    vars(added)["operations"] = [migrations.AddField("sitehold", "note", models.CharField(max_length=300, default=""))]
    site_upgrade.keep_defaults([added])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO core_sitehold (held_at, reason, backup, released_by) VALUES (now(), 'r', '', '')")
        cursor.execute("SELECT note FROM core_sitehold")
        assert cursor.fetchone() == ("",)


def test_going_back_waits_for_work_of_the_newer_release() -> None:
    enter_release(version="2.0.0", formats={"core.periodic": 2}, by="test")
    PeriodicJob.objects.create(name="job", due_at=timezone.now() + timedelta(hours=1))
    with pytest.raises(SiteError, match=r"core\.periodic 1"):
        go_back(principal=SITE)
    assert WorkFormat.objects.get().format == 2
    assert go_back(principal=SITE, force=True) == ["core.periodic"]
    assert WorkFormat.objects.get().format == queue_formats()["core.periodic"]
