"""`python -m drivers.holder DSN COUNT SECONDS NAME`: hold database connections until the time is up."""

import sys
import time

import psycopg

LAST_TRY_SECONDS = 1.0


def main() -> None:
    """Open as many connections as there are to get, and keep trying for those that others give back."""
    dsn, count, seconds, name = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    deadline = time.monotonic() + seconds
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    while time.monotonic() < deadline:
        while len(held) < count:
            try:
                held.append(psycopg.connect(dsn, application_name=name, connect_timeout=5))
            except psycopg.OperationalError:
                if not held:
                    sys.exit(1)
                break
        time.sleep(min(LAST_TRY_SECONDS, max(deadline - time.monotonic(), 0)))


if __name__ == "__main__":
    main()
