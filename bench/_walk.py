"""Find a page of each kind from the URL map and by following links, and ask for each within this process."""

import json
import re
import time
from collections.abc import Iterator
from html import unescape
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve, reverse

from accounts.models import User

LINK = re.compile(r"<a\s([^>]*)>")
HREF = re.compile(r'href="(/[^"#?]*)')
# What is no page for a person to look at: what machines ask, what signs out, and what streams a whole export.
SKIPPED = re.compile(r"^/(static|api|scim|media|sign-out|sign-in|v1|in|metrics|events/stream)\b|export|download|bundle")
LONGEST = 4_000
Kind = str


def kind_of(path: str) -> Kind:
    """Return the name of the page that answers: pages of one name differ only in their record."""
    try:
        return resolve(path).view_name or path
    except Resolver404:
        return path


def pages_without_argument(patterns: list[Any] | None = None, namespace: str = "") -> Iterator[str]:
    """Return the addresses in the URL map that need no argument."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(entry, URLResolver):
            # A pattern with an argument before the include makes all of them need it.
            if not entry.pattern.regex.groups:
                inner = ":".join(filter(None, (namespace, entry.namespace)))
                yield from pages_without_argument(entry.url_patterns, inner)
        elif isinstance(entry, URLPattern) and entry.name and not entry.pattern.regex.groups:
            yield reverse(f"{namespace}:{entry.name}" if namespace else entry.name)


def reader(username: str) -> Client:
    """Return a browser in which this person has signed in."""
    settings.ALLOWED_HOSTS = ["*"]
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(username=username), backend="django.contrib.auth.backends.ModelBackend")
    return client


def pages_of(client: Client) -> dict[Kind, str]:
    """Return one address for each kind of page that this reader may open."""
    waiting = ["/", *sorted(set(pages_without_argument()))]
    seen = {kind_of(path) for path in waiting}
    found: dict[Kind, str] = {}
    while waiting:
        path = waiting.pop(0)
        if SKIPPED.search(path):
            continue
        answer = client.get(path)
        if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        found[kind_of(path)] = path
        if len(found) > LONGEST:
            break
        for attributes in LINK.findall(answer.content.decode()):
            link = HREF.search(attributes)
            if link is None or "download" in attributes:
                continue
            target = unescape(link[1])
            if kind_of(target) not in seen and not SKIPPED.search(target):
                seen.add(kind_of(target))
                waiting.append(target)
    return found


def cost_of(client: Client, path: str, *, times: int) -> dict[str, Any]:
    """Ask for a page once to warm up and then some times; return the least of each figure and the slowest query."""
    client.get(path)
    walls, cpus = [], []
    for _ in range(times):
        began, cpu = time.perf_counter(), time.process_time()
        answer = client.get(path)
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    with CaptureQueriesContext(connection) as asked:
        client.get(path)
    spent = sorted(((float(one["time"]) * 1000, one["sql"]) for one in asked.captured_queries), reverse=True)
    return {
        "page": path,
        "ms": round(min(walls), 1),
        "cpu_ms": round(min(cpus), 1),
        "queries": len(spent),
        "database_ms": round(sum(took for took, _ in spent), 1),
        "kilobytes": round(len(answer.content) / 1024),
        "slowest": [(round(took, 1), sql) for took, sql in spent[:3]],
        "repeated": _most_repeated([sql for _, sql in spent]),
    }


def _most_repeated(statements: list[str]) -> tuple[int, str]:
    counted: dict[str, int] = {}
    for sql in statements:
        shape = re.sub(r"\d+|'[^']*'", "?", sql)[:160]
        counted[shape] = counted.get(shape, 0) + 1
    return max(((number, shape) for shape, number in counted.items()), default=(0, ""))


def line(figures: dict[str, Any], *, whole: bool) -> str:
    """Return figures as a line of JSON."""
    kept = figures if whole else {key: figures[key] for key in figures if key not in {"slowest", "repeated"}}
    return json.dumps(kept)
