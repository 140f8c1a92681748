"""Steps that run beside each other in one process, each on a connection of its own."""

import threading
from collections.abc import Callable

from django.db import connection


def in_threads(*steps: Callable[[], None], seconds: float = 90) -> list[BaseException]:
    """Run steps at once and wait for them; returns what they raised."""
    failed: list[BaseException] = []

    def safely(step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 told to the test
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=safely, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return failed
