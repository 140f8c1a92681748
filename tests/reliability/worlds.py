"""A small world of pods with counters, seeded, whose every event is known; and remote write to a real server."""

import random
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cramjam
import requests

INTERVAL = 15
CODES = ("200", "500", "503")


@dataclass(frozen=True)
class Row:
    """A scraped sample."""

    labels: tuple[tuple[str, str], ...]
    time: int
    value: float


@dataclass
class Truth:
    """What happened, by minute of the scrape that shows it."""

    good: dict[int, int] = field(default_factory=dict)
    bad: dict[int, int] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    happened: int = 0
    happened_bad: int = 0


@dataclass
class Pod:
    """One target: alive from `begin` to `end`, its counters and what was scraped of them."""

    instance: str
    begin: int
    end: int
    counters: dict[str, int] = field(default_factory=dict)
    scraped: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    last_scrape: int = 0
    restarted: bool = False


def make_world(*, seed: int, begin: int, end: int, pods: int = 3) -> tuple[list[Row], Truth]:
    """Return the samples of a world, in order of time, and its truth.

    Pods come and go under new names, restart under their old one, are not scraped for a while; traffic comes in bursts
    between scrapes; error series are born with their first event.
    """
    chance = random.Random(seed)
    truth, rows = Truth(), list[Row]()
    alive = [Pod(f"pod-{number}", begin, _life(chance, begin)) for number in range(pods)]
    born = pods
    silent_until = dict[str, int]()
    for now in range(begin, end, INTERVAL):
        for position, former in enumerate(alive):
            pod = former
            if now >= pod.end:
                # What was counted since the last scrape dies with the process.
                truth.lost += sum(pod.counters.values()) - sum(pod.scraped.values())
                pod = _after(chance, pod, now, born)
                born += not pod.restarted
                alive[position] = pod
            _serve(chance, pod, truth)
            if chance.random() < 0.004:
                silent_until[pod.instance] = now + chance.randrange(30, 240)
            if now < silent_until.get(pod.instance, 0):
                continue
            rows.append(Row(_labels("up", pod.instance), now, 1.0))
            rows += _scrape(pod, now, truth)
    truth.lost += sum(sum(pod.counters.values()) - sum(pod.scraped.values()) for pod in alive)
    return rows, truth


def _life(chance: random.Random, now: int) -> int:
    return now + chance.randrange(1200, 9000)


def _after(chance: random.Random, pod: Pod, now: int, number: int) -> Pod:
    """Return what comes after a pod's end: the same name with counters at zero, or a new pod."""
    if chance.random() < 0.5 and sum(pod.scraped.values()) > 500:
        life = _life(chance, now)
        return Pod(pod.instance, now, life, known=pod.known, last_scrape=pod.last_scrape, restarted=True)
    return Pod(f"pod-{number}", now, _life(chance, now))


def _serve(chance: random.Random, pod: Pod, truth: Truth) -> None:
    events = chance.choice((0, 0, 1, 3, 20, 80)) if pod.counters else chance.randrange(3)
    for _ in range(events):
        code = "200" if chance.random() < 0.98 else chance.choice(CODES[1:])
        pod.counters[code] = pod.counters.get(code, 0) + 1
        truth.happened += 1
        truth.happened_bad += code != "200"


def _scrape(pod: Pod, now: int, truth: Truth) -> list[Row]:
    rows, minute = [], now // 60
    for code, value in pod.counters.items():
        more = value - pod.scraped.get(code, 0)
        # A series proves its birth only when its target was scraped just before without it.
        proven = code in pod.known or now - pod.last_scrape <= 1.5 * INTERVAL
        side = (truth.good if code == "200" else truth.bad) if proven else truth.unknown
        side[minute] = side.get(minute, 0) + more
        pod.scraped[code] = value
        rows.append(Row((*_labels("http_requests_total", pod.instance), ("code", code)), now, float(value)))
    pod.known.update(pod.counters)
    pod.last_scrape = now
    return rows


def _labels(name: str, instance: str) -> tuple[tuple[str, str], ...]:
    return (("__name__", name), ("instance", instance), ("job", "world"))


def remote_write(url: str, rows: Iterable[Row]) -> None:
    """Write samples by Prometheus's remote write protocol, version 1."""
    by_series: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        by_series.setdefault(tuple(sorted(row.labels)), []).append(row)
    body = b"".join(_field(1, _series(labels, samples)) for labels, samples in by_series.items())
    answer = requests.post(
        f"{url}/api/v1/write",
        data=bytes(cramjam.snappy.compress_raw(body)),
        headers={"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"},
        timeout=60,
    )
    assert answer.status_code in {200, 204}, answer.text


def _series(labels: tuple[tuple[str, str], ...], samples: list[Row]) -> bytes:
    parts = [_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels]
    parts += [_field(2, b"\x09" + struct.pack("<d", row.value) + b"\x10" + _varint(row.time * 1000)) for row in samples]
    return b"".join(parts)


def _field(number: int, body: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@contextmanager
def server(kind: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Run a real store that takes remote write; yields its address and process id."""
    binary = shutil.which({"prometheus": "prometheus", "victoriametrics": "victoria-metrics"}[kind])
    if binary is None:
        raise FileNotFoundError(kind)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1h}\nstorage: {tsdb: {out_of_order_time_window: 30m}}\n")
    command = {
        "prometheus": [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            "--storage.tsdb.retention.time=60d",
            "--log.level=error",
        ],
        "victoriametrics": [
            binary,
            f"-storageDataPath={folder / 'vm'}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=3",
            "-loggerLevel=ERROR",
        ],
    }[kind]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while True:
            try:
                if requests.get(f"{url}/health" if kind != "prometheus" else f"{url}/-/ready", timeout=1).ok:
                    break
            except requests.RequestException:
                pass
            assert time.monotonic() < deadline, f"{kind} does not start"
            time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)
