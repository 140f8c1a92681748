"""Any OSCAL catalog or profile becomes a framework; an upgrade keeps history; texts stay private."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from accounts.data import Principal
from compliance.domain.catalogs import CatalogDocument, requirements_of
from compliance.models import ControlRequirement, Framework, Requirement, RequirementText
from compliance.services import import_oscal, load_overlay, load_packaged, load_packaged_if_changed
from compliance.services.importing import RESERVED
from compliance.services.tables import read_csv
from compliance.urls import urlpatterns
from core.parsing import InputRefusedError

PUBLISHED = Path(os.environ.get("OSCAL_CONTENT", "/nonexistent"))


def control(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "title": f"About {name}", **more}


def catalog(*groups: dict[str, Any], version: str = "1") -> dict[str, Any]:
    metadata = {
        "title": "A catalog",
        "last-modified": "2026-05-11T16:01:09.00000-00:00",
        "version": version,
        "oscal-version": "v1.2.2",
    }
    return {"catalog": {"uuid": "720a010b-253c-4a94-bb65-cb58400966f5", "metadata": metadata, "groups": list(groups)}}


def family(*controls: dict[str, Any], name: str = "ac") -> dict[str, Any]:
    return {"id": name, "class": "family", "title": "Access", "controls": list(controls)}


def label(value: str, **more: str) -> dict[str, str]:
    return {"name": "label", "value": value, **more}


AC2 = control(
    "ac-2",
    props=[label("AC-2"), label("AC-02", **{"class": "zero-padded"})],
    parts=[
        {"name": "statement", "id": "ac-2_smt", "prose": "Manage accounts.", "parts": [{"name": "item", "prose": "a."}]}
    ],
    controls=[
        control("ac-2.1", props=[label("AC-2(1)")]),
        control("ac-2.2", props=[label("AC-2(2)"), {"name": "status", "value": "withdrawn"}]),
    ],
)


def raw(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def load(manager: Principal, document: dict[str, Any], **more: Any) -> Any:
    return import_oscal(principal=manager, raw=raw(document), slug="mine", source="mine.json", **more)


@pytest.mark.django_db
def test_a_catalog_becomes_a_framework_with_its_labels_and_without_what_was_withdrawn(manager: Principal) -> None:
    made = load(manager, catalog(family(control("ac-1", props=[label("AC-1")]), AC2)))
    assert made.requirements == 3
    found = Requirement.objects.filter(framework__slug="mine")
    assert list(found.values_list("ref", "control_id", "category")) == [
        ("AC-1", "ac-1", "ac"),
        ("AC-2", "ac-2", "ac"),
        ("AC-2(1)", "ac-2.1", "ac"),
    ]
    assert RequirementText.objects.get(requirement__ref="AC-2").text == "Manage accounts.\na."
    assert load(manager, catalog(family(control("ac-1", props=[label("AC-1")]), AC2))) is None


@pytest.mark.django_db
def test_categories_of_the_cybersecurity_framework_are_groups_not_requirements(manager: Principal) -> None:
    category = control("GV.OC", **{"class": "category"}, controls=[control("GV.OC-01", title="GV.OC-01")])
    category["title"] = "Organizational Context"
    load(manager, catalog({"id": "GV", "class": "function", "title": "GOVERN", "controls": [category]}))
    only = Requirement.objects.get(framework__slug="mine")
    assert (only.ref, only.label, only.category) == ("GV.OC-01", "Organizational Context: GV.OC-01", "GV")


@pytest.mark.django_db
def test_an_upgrade_retires_what_is_gone_and_keeps_its_links(manager: Principal) -> None:
    load_packaged()
    load(manager, catalog(family(control("ac-1"), control("ac-2"))))
    gone = Requirement.objects.get(framework__slug="mine", ref="ac-1")
    link = ControlRequirement.objects.select_related("control").first()
    assert link is not None
    kept = ControlRequirement.objects.create(
        control=link.control, requirement=gone, strength="direct", rationale="Because."
    )
    made = load(manager, catalog(family(control("ac-2", title="Another title"), control("ac-3")), version="2"))
    assert (made.number, made.added, made.retired, made.changed) == (2, ["ac-3"], ["ac-1"], ["ac-2"])
    gone.refresh_from_db()
    assert gone.retired_at is not None
    assert ControlRequirement.objects.filter(pk=kept.pk).exists()


@pytest.mark.django_db
def test_an_imported_edition_of_a_packaged_framework_is_not_overwritten(manager: Principal) -> None:
    load_packaged()
    import_oscal(principal=manager, raw=raw(catalog(family(control("ac-1")))), slug="nist-csf", source="x")
    assert load_packaged_if_changed() is None
    load_packaged()
    assert Framework.objects.get(slug="nist-csf").requirements.filter(retired_at=None).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("selection", "refs"),
    [
        ({"include-all": {}}, ["ac-1", "AC-2", "AC-2(1)"]),
        ({"include-controls": [{"with-ids": ["ac-2"]}]}, ["AC-2"]),
        ({"include-controls": [{"with-ids": ["ac-2"], "with-child-controls": "yes"}]}, ["AC-2", "AC-2(1)"]),
        ({"include-controls": [{"matching": [{"pattern": "ac-2*"}]}]}, ["AC-2", "AC-2(1)"]),
        ({"include-all": {}, "exclude-controls": [{"with-ids": ["ac-1"]}]}, ["AC-2", "AC-2(1)"]),
    ],
)
def test_a_profile_takes_what_it_names(selection: dict[str, Any], refs: list[str], manager: Principal) -> None:
    whole = catalog(family(control("ac-1"), AC2))
    metadata = whole["catalog"]["metadata"]
    uuid = "1019f424-1556-4aa3-9df3-337b97c2c856"
    profile = {"profile": {"uuid": uuid, "metadata": metadata, "imports": [{"href": "base.json", **selection}]}}
    load(manager, profile, catalogs={"base.json": raw(whole)})
    assert list(Requirement.objects.filter(framework__slug="mine").values_list("ref", flat=True)) == refs


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["catalog"].update(uuid="0190f424-1556-7aa3-9df3-337b97c2c856"), "uuid"),
        (lambda d: d["catalog"].update(extra=1), "this key is not known"),
        (lambda d: d["catalog"]["metadata"].pop("version"), "metadata.version"),
        (lambda d: d["catalog"]["groups"][0]["controls"].append(control("6.1.1")), "6.1.1"),
        (lambda d: d["catalog"]["groups"][0]["controls"].append(control("ac-1")), "ac-1 twice"),
        (lambda d: d["catalog"].update(groups=[]), "0 requirements"),
    ],
)
def test_what_does_not_validate_is_refused_whole(change: Any, said: str, manager: Principal) -> None:
    document = catalog(family(control("ac-1")))
    change(document)
    with pytest.raises(InputRefusedError, match=said):
        load(manager, document)
    assert not Framework.objects.filter(slug="mine").exists()


def test_no_page_stands_where_a_framework_of_its_name_would() -> None:
    routes = [str(one.pattern).removeprefix("^").split("/") for one in urlpatterns]
    taken = {parts[1] for parts in routes if parts[0] == "compliance" and parts[1] and parts[1][0] not in "<("}
    assert taken <= RESERVED


@pytest.mark.django_db
def test_the_name_of_a_page_is_no_slug(manager: Principal) -> None:
    with pytest.raises(InputRefusedError, match="slug"):
        import_oscal(principal=manager, raw=raw(catalog(family(control("a")))), slug="evidence", source="x")


@pytest.mark.django_db
def test_an_overlay_is_kept_for_known_identifiers_only(manager: Principal) -> None:
    load(manager, catalog(family(control("ac-1"))))
    framework = Framework.objects.get(slug="mine")
    rows = read_csv(b"ref,text\nac-1,Licensed words\n", source="t.csv", columns=("ref", "text"))
    texts = {one["ref"]: one["text"] for one in rows}
    assert load_overlay(principal=manager, framework=framework, texts=texts, source="t.csv") == 1
    with pytest.raises(InputRefusedError, match="ac-9"):
        load_overlay(principal=manager, framework=framework, texts={"ac-9": "x"}, source="t.csv")


@pytest.mark.parametrize(
    "table", [b"reference,text\na,b\n", b"ref,text,ref\na,b,c\n", b"ref,text\na\n", b"\xff\xfe", b"ref\n"]
)
def test_a_table_with_wrong_columns_is_refused(table: bytes) -> None:
    with pytest.raises(InputRefusedError):
        read_csv(table, source="t.csv", columns=("ref", "text"))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="needs the published catalogs: set OSCAL_CONTENT to their folder")
@pytest.mark.parametrize(
    ("file", "count", "categories"),
    [
        ("NIST_CSF_v2.0_catalog.json", 106, {"GV": 31, "ID": 21, "PR": 22, "DE": 11, "RS": 13, "RC": 8}),
        ("NIST_SP-800-53_rev5_catalog.json", None, None),
    ],
)
def test_the_published_catalogs_import_whole(file: str, count: int | None, categories: Any) -> None:
    path = next(PUBLISHED.rglob(file))
    document = CatalogDocument.model_validate(json.loads(path.read_text()))
    found = requirements_of(document.catalog)
    if count is None:
        assert len({one.category for one in found}) == 20
        assert len(found) > 1000
    else:
        assert (len(found), Counter(one.category for one in found)) == (count, categories)
