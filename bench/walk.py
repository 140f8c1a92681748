"""What each page costs by itself, with the number of its queries. Prints one JSON object per page, dearest first.

    DATABASE_URL=postgresql://… .venv/bin/python bench/walk.py [--only /slos/] [--times 3] [--whole]

Asks within this process, as `admin`, so that no web server and no network stand between: `cpu_ms` is this process's own
CPU time, `database_ms` what the database took. `--whole` adds the slowest statements and the one most often repeated.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django  # noqa: E402

django.setup()

from bench._walk import cost_of, line, pages_of, reader  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", help="these addresses instead of all")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    client = reader(given.user)
    paths = given.only or sorted(pages_of(client).values())
    costs = [cost_of(client, path, times=given.times) for path in paths]
    for one in sorted(costs, key=lambda one: -one["ms"]):
        print(line(one, whole=given.whole), flush=True)


if __name__ == "__main__":
    main()
