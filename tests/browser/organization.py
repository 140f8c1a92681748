"""The demo organization with something in every room, made only through the rooms' services."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from accounts.data import system_principal
from catalog.data import ActivityKind
from catalog.selectors import service_by_slug
from catalog.services import open_action_item, record_deployment, start_activity
from chaos.coverage_selectors import game_days_visible
from chaos.data import FaultState, RunState
from chaos.domain.recovery_measure import Marker
from chaos.models import ChaosRun, Fault, RunEvent
from chaos.recovery_selectors import recovery_tests_visible, spec_of_run
from chaos.selectors import experiment_by_slug, latest_revision
from chaos.services import begin_game_day, finish_run
from chaos.services.recovery import request_recovery_run
from chaos.services.recovery_context import DrillResult
from chaos.services.recovery_running import finish_recovery_run
from core.identifiers import new_id
from core.periodic import run_now
from core.work import drain_all
from demo.services import load_organization
from incidents.data import Severity
from incidents.services import Opening, open_incident
from reliability.services import evaluate, receive_metrics

SITE = system_principal("test")
MINUTES = 90


def build() -> None:
    """Load the demo organization and let things happen to it."""
    load_organization(port=8000)
    now = timezone.now()
    _deployments(now)
    _follow_ups(now)
    receive_metrics(_telemetry(now))
    evaluate(now=now)
    drain_all()
    _declared_incident()
    drain_all()
    _recovery_tests()
    _chaos_runs(now)
    run_now("ledger.seal")


def _chaos_runs(now: datetime) -> None:
    """One run that passed and one that failed and left a finding, and a game day that goes on."""
    experiment = experiment_by_slug(slug="model-servers-freeze")
    game_day = game_days_visible(viewer=SITE).first()
    assert experiment is not None
    assert game_day is not None
    for minutes, steady in ((55, True), (25, False)):
        started = now - timedelta(minutes=minutes)
        run = ChaosRun.objects.create(
            reference=new_id("run"),
            revision=latest_revision(experiment=experiment),
            plan_sha256="ab" * 32,
            state=RunState.RUNNING,
            requested_by=SITE.reference,
            requested_at=started,
            started_at=started,
            due_at=started,
            finished_at=started,
            deadline_at=now + timedelta(hours=1),
            steady_before=True,
            steady_after=steady,
            recovery_seconds=41.5 if steady else None,
            guards=[{"guard": "kill switch", "allowed": True, "reason": "not engaged"}],
        )
        Fault.objects.create(
            run=run,
            position=0,
            action="process.stop",
            arguments={"process": {"cmdline": "^no-such-process$"}},
            output={"processes": []},
            targets=["model-server-1", "model-server-2"],
            state=FaultState.REVERTED,
            intended_at=started,
            injected_at=started + timedelta(seconds=3),
            expires_at=started + timedelta(minutes=4),
            reverted_at=started + timedelta(minutes=3),
            took_effect=True,
            detail="continued",
        )
        for seconds, kind, text in (
            (0, "run", "requested by system:test; every guard agrees"),
            (3, "fault", "process.stop on model-server-1, model-server-2: active"),
            (4, "probe", "the steady state holds"),
            (70, "probe", "a burn alert of gateway-ttft fires"),
            (180, "fault", "process.stop on model-server-1, model-server-2: reverted"),
        ):
            RunEvent.objects.create(run=run, at=started + timedelta(seconds=seconds), kind=kind, text=text)
        finish_run(run)
        ChaosRun.objects.filter(pk=run.pk).update(ended_at=started + timedelta(minutes=6 if steady else 9))
    begin_game_day(principal=SITE, game_day=game_day)


def _deployments(now: datetime) -> None:
    gateway = service_by_slug(slug="gateway")
    assert gateway is not None
    for number, hours in enumerate((130, 74, 6)):
        record_deployment(
            principal=SITE,
            reference=f"deploy-{number}",
            service=gateway,
            commit=f"{number}a1b2c3d4e5",
            ticket=f"GW-{number}",
            author="alice",
            approver="bob",
            committed_at=now - timedelta(hours=hours + 5 + 9 * number),
            started_at=now - timedelta(hours=hours),
            finished_at=now - timedelta(hours=hours) + timedelta(minutes=12),
        )


def _follow_ups(now: datetime) -> None:
    store, gateway = service_by_slug(slug="feature-store"), service_by_slug(slug="gateway")
    assert store is not None
    assert gateway is not None
    start_activity(
        kind=ActivityKind.MAINTENANCE,
        source_key="maintenance:1",
        title="Disks of the feature store",
        url="",
        service_ids=[store.pk],
        started_at=now - timedelta(hours=30),
    )
    open_action_item(
        source_key="review:1:1",
        title="Alert on the queue of the gateway, not only on latency",
        owner="alice",
        service_id=gateway.pk,
        due_on=(now + timedelta(days=3)).date(),
    )


def _declared_incident() -> None:
    store = service_by_slug(slug="feature-store")
    assert store is not None
    open_incident(
        principal=SITE,
        opening=Opening(
            title="Features of one tenant are a day old",
            severity=Severity.SEV3,
            service_ids=(store.pk,),
            team_id=store.team_id,
        ),
    )


def _recovery_tests() -> None:
    """A restore that has ended and did not keep its promise, and a tabletop that is going on."""
    tests = {test.slug: test for test in recovery_tests_visible(viewer=SITE)}
    run = request_recovery_run(principal=SITE, test=tests["assay-backup-restore"])
    run.steps = [{"name": "restore", "state": "done", "started_at": timezone.now().isoformat(), "seconds": 3.2}]
    result = DrillResult(
        scope="isolated",
        witness="markers",
        markers=[Marker(number, number / 5, number / 5 + 0.1, True) for number in range(1, 60)],
        survivors=set(range(1, 60)) - {19, 20},
        fault_at=4.15,
        fault_done=4.15,
        parts={"detect": 0.6, "restore": 3.2},
        data_check="103 tables by row count and SHA-256",
        data_passed=False,
        differences=["table accounts_team has 1 rows; the backup says 2"],
        security={"a stranger is refused": True, "the ledger refuses changes": False},
    )
    finish_recovery_run(run, spec=spec_of_run(run), result=result)
    request_recovery_run(principal=SITE, test=tests["region-lost-tabletop"])


def _telemetry(now: datetime) -> ExportMetricsServiceRequest:
    """An hour and a half of requests, of which the last minutes are slow: the burn alert fires."""
    request = ExportMetricsServiceRequest()
    first_token = _metric(request, "gateway", "gen_ai.server.time_to_first_token")
    answers = _metric(request, "load", "http.client.request.duration")
    for minute in range(MINUTES, 0, -1):
        start, end = now - timedelta(minutes=minute), now - timedelta(minutes=minute - 1)
        slow = 70 if minute <= 6 else 1 + minute % 3
        _point(first_token, start, end, [120 - slow, slow])
        _point(answers, start, end, [119, 0], outcome="200")
        _point(answers, start, end, [1 if minute % 4 == 0 else 0, 0], outcome="503")
    return request


def _metric(request: ExportMetricsServiceRequest, service: str, name: str) -> Metric:
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    metric = resource.scope_metrics.add().metrics.add(name=name, unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    return metric


def _point(metric: Metric, start: datetime, end: datetime, buckets: Sequence[int], **attributes: str) -> None:
    point = metric.histogram.data_points.add(
        start_time_unix_nano=int(start.timestamp() * 1e9),
        time_unix_nano=int(end.timestamp() * 1e9),
        explicit_bounds=[1.0],
        bucket_counts=buckets,
        count=sum(buckets),
    )
    for key, value in attributes.items():
        point.attributes.add(key=key).value.string_value = value
