"""What it costs to say who is on call: 50 people in ten layers, over 90 days.

    .venv/bin/python bench/oncall.py

Prints one JSON object per figure and line. No database: a schedule is a pure function of its versions.
"""

import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

# This folder would hide the room `incidents` behind the bench of that name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench._site import calibrate, say  # noqa: E402
from incidents.domain.oncall import Version, resolve  # noqa: E402
from incidents.domain.rotations import Basis, Layer, Restriction, Rotation, Unit  # noqa: E402

BENCH = "oncall"


def resolve_schedule() -> None:
    """Who is on call over 90 days: 50 people in ten layers."""
    chance = random.Random(1)
    people = [f"person-{number}" for number in range(50)]
    layers = tuple(
        Layer(
            name=f"layer-{number}",
            priority=number,
            zone=("Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")[number % 4],
            rotation=Rotation(
                (Unit.WEEK, Unit.DAY)[number % 2],
                1,
                datetime.fromisoformat("2026-01-05T09:00"),
                Basis.WALL,
            ),
            groups=tuple((name,) for name in chance.sample(people, 5)),
            starts_at=datetime(1, 1, 2, tzinfo=UTC),
            restrictions=()
            if number == 0
            else (Restriction(frozenset(range(5)), datetime(1, 1, 1, 8).time(), datetime(1, 1, 1, 17).time()),),  # noqa: DTZ001
            holidays=frozenset(),
            on_holidays=False,
        )
        for number in range(10)
    )
    start = datetime(2026, 11, 21, tzinfo=UTC)
    versions = [Version(1, start - timedelta(days=400), layers)]
    resolve(versions, [], start, start + timedelta(days=1))
    times = []
    for round_ in range(20):
        begin = start + timedelta(days=round_)
        started = time.perf_counter()
        found = resolve(versions, [], begin, begin + timedelta(days=90))
        times.append(time.perf_counter() - started)
    say(
        BENCH,
        "resolve_90_days",
        min(times) * 1000,
        "ms",
        limit=20,
        shifts=len(found),
        worst=round(max(times) * 1000, 1),
    )


if __name__ == "__main__":
    calibrate(BENCH)
    resolve_schedule()
