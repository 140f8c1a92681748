"""Every list page asks the database a fixed number of times; `query_counts.json` holds the numbers.

`UPDATE_QUERY_COUNTS=1 pytest tests/portal/test_query_counts.py` writes them anew: look at the difference before
committing it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import User
from core.lists import RecordListView
from tests.browser.organization import build

COUNTS = Path(__file__).with_name("query_counts.json")

pytestmark = pytest.mark.django_db


def list_pages(patterns: list[Any] | None = None, namespace: str = "") -> Iterator[str]:
    """Return the names of all list pages whose address needs no argument."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(entry, URLResolver):
            inner = f"{entry.namespace}:" if entry.namespace else namespace
            yield from list_pages(entry.url_patterns, inner)
        elif isinstance(entry, URLPattern):
            view = getattr(entry.callback, "view_class", None)
            if isinstance(view, type) and issubclass(view, RecordListView) and not entry.pattern.converters:
                yield f"{namespace}{entry.name}"


def count(client: Client, address: str) -> int:
    client.get(address)  # the first request fills caches that live as long as the process
    with CaptureQueriesContext(
        connection,
    ) as asked:
        answer = client.get(address)
    assert answer.status_code == 200, f"{address} answers {answer.status_code}"
    return len(asked)


def test_list_pages_ask_as_often_as_is_written_down() -> None:
    build()
    client = Client()
    client.force_login(User.objects.get(username="admin"))
    now = {name: count(client, reverse(name)) for name in sorted({*list_pages(), "portal:home"})}
    if os.environ.get("UPDATE_QUERY_COUNTS"):
        COUNTS.write_text(json.dumps(now, indent=2) + "\n")
    assert now == json.loads(COUNTS.read_text())
