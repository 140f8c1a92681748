"""The processes of a site on one machine."""

import shutil
import sys
from pathlib import Path

from django.conf import settings

from core.supervisor import ProcessSpec, answers_http


def site_processes(*, port: int) -> list[ProcessSpec]:
    """Return web server, worker and scheduler. On SQLite one web process: two would wait for each other's writes."""
    # Children compile what they import; an environment that forbids it would make each start slow.
    environment = {"PYTHONDONTWRITEBYTECODE": "", "PORT": str(port), "ASSAY_SITE_URL": settings.SITE_URL}
    return [
        ProcessSpec(
            name="web",
            command=(
                sys.executable,
                "-m",
                "granian",
                "--interface",
                "wsgi",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
                "--blocking-threads",
                # Senders of alerts wait in these threads for the commit of their group: the more, the larger it is.
                "24",
                "--backpressure",
                "128",
                "--no-ws",
                "--log-level",
                "warning",
                "config.wsgi:application",
            ),
            environment=environment,
            port=port,
            ready=answers_http(f"http://127.0.0.1:{port}/readyz"),
            stop_last=True,
        ),
        ProcessSpec(
            name="worker",
            command=(
                sys.executable,
                "-m",
                "celery",
                "-A",
                "config",
                "worker",
                "--pool=threads",
                "--concurrency=6",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
                "--loglevel=WARNING",
            ),
            environment=environment,
        ),
        ProcessSpec(name="scheduler", command=(sys.executable, "manage.py", "scheduler"), environment=environment),
    ]


def prometheus_process(*, port: int, scrape: dict[str, int], state_dir: Path) -> ProcessSpec | None:
    """Return a Prometheus that scrapes these loopback ports by job name, or None where there is no binary."""
    binary = shutil.which("prometheus")
    if binary is None:
        return None
    folder = state_dir / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    jobs = "\n".join(
        f"  - job_name: {name}\n    static_configs:\n      - targets: ['127.0.0.1:{target}']"
        for name, target in {"prometheus": port, **scrape}.items()
    )
    config = folder / "prometheus.yml"
    config.write_text(f"global:\n  scrape_interval: 5s\nscrape_configs:\n{jobs}\n", "utf-8")
    return ProcessSpec(
        name="prometheus",
        command=(
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.retention.time=2d",
            "--log.level=warn",
        ),
        port=port,
        port_variable="PROMETHEUS_PORT",
        ready=answers_http(f"http://127.0.0.1:{port}/-/ready"),
    )
