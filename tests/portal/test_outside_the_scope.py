"""Nothing of a team is readable, listable, searchable, exportable or changeable for those who have rights for another.

No list of pages is kept here: addresses come from the links that an administrator meets, from the map of addresses and
from the schema of the API. The words that belong to one team are marked in the whole database, and whoever holds every
role for the other team alone must never see the mark.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import unescape
from ipaddress import ip_network
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import lxml.html  # type: ignore[import-untyped]
import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.selectors import team_by_slug
from accounts.services import create_user, grant_role
from catalog.models import Region, Service
from tests.browser.crawling import kind_of, links_of
from tests.browser.organization import build

pytestmark = pytest.mark.django_db

SITE = system_principal("test")
MARK = "zqjxkw"
WORDS = ("gateway", "Gateway", "model-server", "Model server")
SIGN_OUT = "/sign-out/"
RECORDS_PER_KIND = 3
FORMS_PER_KIND = 2
CHANGING = ("post", "put", "patch", "delete")
DOWNLOAD = re.compile(r'href="([^"]+)"[^>]*\bdownload\b')
PARAMETER = re.compile(r"\{(\w+)\}")
READING = ("SELECT", "SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")


@pytest.fixture(scope="module")
def organization(undone_after_module: None) -> None:
    """Two teams with services, SLOs, incidents, runs and evidence; the words of one are marked."""
    build()
    neighbour = create_user(principal=SITE, username="neighbour", password=None)
    for role in Role:
        grant_role(principal=SITE, user=neighbour, role=role, team=team_by_slug(slug="data"))
    nothing_is_shared()
    mark_words()


def nothing_is_shared() -> None:
    """Leave what belongs to services of both teams to the first: both may read what they share."""
    for model in apps.get_models(include_auto_created=True):
        links = [field for field in model._meta.fields if field.is_relation and field.related_model is Service]
        owners = [field for field in model._meta.fields if field.is_relation and field.related_model is not Service]
        if model._meta.auto_created and len(links) == len(owners) == 1:
            rows, owner = model._base_manager.all(), owners[0].attname
            theirs = rows.filter(**{f"{links[0].name}__team__slug": "inference"})
            shared = rows.filter(**{f"{owner}__in": list(theirs.values_list(owner, flat=True))})
            shared.exclude(pk__in=list(theirs.values_list("pk", flat=True))).delete()


def mark_words() -> None:
    """Put the mark before each of the words, in every text of the database."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON") if connection.vendor == "sqlite" else None
        for model in apps.get_models(include_auto_created=True):
            texts = [
                str(field.column)
                for field in model._meta.concrete_fields
                if isinstance(field, models.CharField | models.TextField | models.JSONField) and not field.choices
            ]
            table = connection.ops.quote_name(model._meta.db_table)
            for column in map(connection.ops.quote_name, texts):
                for word in WORDS:
                    cursor.execute(
                        f"UPDATE {table} SET {column} = replace({column}, %s, %s) WHERE {column} LIKE %s",
                        [word, f"{MARK}{word}", f"%{word}%"],
                    )


def client_of(username: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username=username))
    return client


def text_of(answer: Any) -> str:
    body: bytes = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode(errors="replace")


@dataclass(frozen=True)
class Form:
    """What a page lets somebody send, filled in with what stands there."""

    found_on: str
    address: str
    values: tuple[tuple[str, str], ...]


def forms_of(html: str, page: str) -> Iterator[Form]:
    for form in lxml.html.fromstring(html).iterfind(".//form"):
        if (form.get("method") or "get").lower() != "post" and not form.get("hx-post"):
            continue
        address = urljoin(page, form.get("hx-post") or form.get("action") or page)
        if address == SIGN_OUT:
            continue
        values = {name: str(value) for name, value in form.form_values() if name != "csrfmiddlewaretoken"}
        for entry in form.iterfind(".//*[@name]"):
            options = [option.get("value") or "" for option in entry.iterfind(".//option") if option.get("value")]
            words = entry.text if entry.tag == "textarea" else None
            values[entry.get("name")] = (
                values.get(entry.get("name")) or words or next(iter(options), entry.get("value")) or "words"
            )
        yield Form(page, address, tuple(sorted(values.items())))


@dataclass(frozen=True)
class Met:
    """What an administrator meets on a walk through the whole site."""

    pages: tuple[str, ...]
    forms: tuple[Form, ...]
    files: tuple[str, ...]
    """One of each kind that is no page: what leaves the site."""


@cache
def met_by_admin() -> Met:
    """Follow every link, exports and queries included, up to a number of records of one kind."""
    client, waiting, known, asked = client_of("admin"), deque(["/"]), {"/"}, Counter[tuple[str, bool]]()
    pages: list[str] = []
    forms: list[Form] = []
    files: dict[str, str] = {}
    while waiting:
        path = waiting.popleft()
        page = kind_of(path), bool(urlsplit(path).query)
        asked[page] += 1
        if asked[page] > RECORDS_PER_KIND or path == SIGN_OUT:
            continue
        pages.append(path)
        answer = client.get(path)
        if answer.status_code == 200 and "html" not in answer.headers.get("content-type", ""):
            files.setdefault(kind_of(path), path)
        if answer.streaming or "html" not in answer.headers.get("content-type", "") or not answer.content.strip():
            continue
        html = answer.content.decode()
        forms.extend(forms_of(html, path))
        for link in DOWNLOAD.findall(html):
            target = unescape(urljoin(path, link))
            files.setdefault(f"{kind_of(target)} {urlsplit(target).query[-10:]}", target)
        for link in (*links_of(html), *re.findall(r'hx-get="([^"]+)"', html)):
            target = urldefrag(urljoin(path, link)).url
            if target.startswith("/") and not target.startswith(("/static/", "//")) and target not in known:
                known.add(target)
                waiting.append(target)
    kinds = Counter[tuple[str, ...]]()
    few = []
    for form in dict.fromkeys(forms):
        kind = (kind_of(form.address), *(name for name, _ in form.values))
        kinds[kind] += 1
        few += [form] if kinds[kind] <= FORMS_PER_KIND else []
    return Met(tuple(pages), tuple(few), tuple(files.values()))


@cache
def api_addresses() -> list[tuple[str, list[str]]]:
    """Return each address of the API with its verbs; keys are taken from the lists that an administrator reads."""
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    admin, lists = client_of("admin"), dict[str, list[dict[str, Any]]]()
    found_addresses = []
    for path, operations in schema["paths"].items():
        verbs = [verb for verb in operations if verb in {"get", *CHANGING}]
        found = PARAMETER.search(path)
        if found is None:
            found_addresses.append((path, verbs))
            continue
        parent = path[: found.start()]
        if parent not in lists:
            answer = admin.get(parent)
            rows = answer.json() if answer.status_code == 200 else []
            lists[parent] = rows.get("results", []) if isinstance(rows, dict) else rows
        for row in lists[parent]:
            key = row.get(found[1], row.get("id", row.get("reference")))
            if MARK in str(row):
                found_addresses.append((PARAMETER.sub("approve", path.replace(found[0], str(key))), verbs))
    return found_addresses


def rows_marked() -> dict[str, set[str]]:
    """Return every row that bears the mark, as text, by table."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found[table] = {text for row in cursor.fetchall() if MARK in (text := repr(row))}
    return found


class Writes:
    """Notes whether a statement may have changed anything; the whole database is read again only then."""

    any = False

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self.any = self.any or not sql.startswith(READING)
        return execute(sql, parameters, many, context)


@pytest.mark.usefixtures("organization")
def test_whoever_works_for_one_team_reads_nothing_of_the_other() -> None:
    pages = [page for page in met_by_admin().pages if MARK not in urlsplit(page).query]
    pages += [f"/search/?q={part}" for part in ("teway", "odel-serv")]
    pages += [address for address, verbs in api_addresses() if "get" in verbs]
    assert sum(MARK in page for page in pages) > 20
    client, shown = client_of("neighbour"), []
    for page in pages:
        answer = client.get(page)
        body = text_of(answer)
        if MARK in body.replace(page, "") and answer.status_code < 400:
            at = body.index(MARK)
            shown.append(f"{page} ({kind_of(page)}): …{body[max(0, at - 160) : at + 60]!r}…")
        elif answer.status_code >= 500:
            shown.append(f"{page}: answers {answer.status_code}")
    assert not shown, f"{len(shown)} of {len(pages)}:\n" + "\n".join(shown)


@dataclass(frozen=True)
class Sent:
    """What was sent by whom, the answer's status, and whether the database was written to."""

    what: str
    status: int
    wrote: bool


def sent(username: str) -> Iterator[Sent]:
    """Send every form that an administrator meets and try every verb of the API."""
    client = client_of(username)

    def send(what: str, verb: str, address: str, **arguments: Any) -> Sent:
        writes = Writes()
        with connection.execute_wrapper(writes):
            answer = getattr(client, verb)(address, **arguments)
        return Sent(f"{what} by {username}", answer.status_code, writes.any)

    for form in met_by_admin().forms:
        yield send(str(form), "post", form.address, data=dict(form.values))
    for address, verbs in api_addresses():
        for verb in verbs:
            if verb != "get":
                yield send(f"{verb} {address}", verb, address, data="{}", content_type="application/json")


@pytest.mark.usefixtures("organization")
@pytest.mark.parametrize("username", ["neighbour", "dana"])
def test_whoever_may_not_changes_nothing_of_a_team(username: str) -> None:
    """The neighbour holds every role for another team, dana views the whole site. Auditors have a test of their own."""
    before, broken = rows_marked(), []
    for one in sent(username):
        if one.status >= 500:
            broken.append(f"{one.what} answers {one.status}")
        if one.wrote and (after := rows_marked()) != before:
            changed = [name for name in after if after[name] != before[name]]
            broken.append(f"{one.what} answers {one.status} and changed {changed}")
            before = after
    assert rows_marked() == before, "something was changed by a statement that nobody noticed"
    assert not broken, "\n".join(broken)


@pytest.mark.usefixtures("organization")
def test_the_same_sent_by_who_may_does_change_it() -> None:
    """Else the test above would prove nothing."""
    before = rows_marked()
    assert sum(one.status < 400 for one in sent("admin")) > 50
    changed = {table for table, rows in rows_marked().items() if rows != before[table]}
    assert len(changed) > 10, changed


# What is no data of the organization, each with its reason.
MAY_GO_ANYWHERE = {
    "ledger:verifier": "the script that verifies packs",
    "ledger:checkpoint_note": "a size and a hash, made to be kept elsewhere",
    "api-schema": "how the API is called",
}


@pytest.mark.usefixtures("organization")
def test_no_file_and_no_answer_of_the_api_leaves_the_residency_unasked(settings: Any) -> None:
    """Whatever an administrator meets that is no page, and every address of the API that can be read."""
    files = [path for path in met_by_admin().files if kind_of(path) not in MAY_GO_ANYWHERE]
    asked = files + [address for address, verbs in api_addresses() if "get" in verbs]
    assert sum("csv" in path for path in files) > 20
    Region.objects.create(slug="home", name="Home", residency="EU")
    settings.REGION, settings.REGION_NETWORKS = "home", ((ip_network("10.0.0.0/8"), "home"),)
    client = client_of("admin")
    unasked = [
        f"{path} ({kind_of(path)}): {answer.status_code} {answer.headers.get('content-type')}"
        for path in asked
        if (answer := client.get(path, REMOTE_ADDR="198.51.100.7")).status_code < 300
    ]
    assert not unasked, "\n".join(unasked)
