"""Keep data as long as the rules say, hold it when the law asks, erase people."""

from custody.services.erasing import ERASE_QUEUE, erase, request_erasure
from custody.services.exporting import export_about
from custody.services.holding import (
    count_what_is_kept,
    decide_hold,
    decide_release,
    may_keep,
    request_hold,
    request_release,
)
from custody.services.retention import Removed, remove_old_data, set_retention

__all__ = [
    "ERASE_QUEUE",
    "Removed",
    "count_what_is_kept",
    "decide_hold",
    "decide_release",
    "erase",
    "export_about",
    "may_keep",
    "remove_old_data",
    "request_erasure",
    "request_hold",
    "request_release",
    "set_retention",
]
