"""`python -m drivers.locker FILE SECONDS`: hold the write lock of a SQLite database until the time is up."""

import sqlite3
import sys
import time

LAST_TRY_SECONDS = 0.02


def main() -> None:
    """Take the lock as soon as it can be had, and give it back when the time is up."""
    file, deadline = sys.argv[1], time.monotonic() + float(sys.argv[2])
    database = sqlite3.connect(file, isolation_level=None, timeout=0)
    while time.monotonic() < deadline:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            time.sleep(LAST_TRY_SECONDS)
            continue
        time.sleep(max(deadline - time.monotonic(), 0))
        database.execute("ROLLBACK")


if __name__ == "__main__":
    main()
