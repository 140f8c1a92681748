"""Frameworks as data: complete, in own words, loaded once."""

from collections import Counter

import pytest

from compliance.models import Check, Control, Framework, Requirement
from compliance.services import load_packaged, load_packaged_if_changed
from ledger.selectors import entries

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
SOC2 = {"CC1": 5, "CC2": 3, "CC3": 4, "CC4": 2, "CC5": 3, "CC6": 8, "CC7": 5, "CC8": 1, "CC9": 2}
SOC2 |= {"A": 3, "C": 2, "PI": 5, "P": 18}
ISO = {"4": 4, "5": 3, "6": 5, "7": 7, "8": 3, "9": 6, "10": 2, "A.5": 37, "A.6": 8, "A.7": 14, "A.8": 34}


@pytest.mark.parametrize(("slug", "expected"), [("soc2", SOC2), ("iso27001", ISO)])
def test_a_framework_is_complete_in_every_category(slug: str, expected: dict[str, int]) -> None:
    found = Requirement.objects.filter(framework__slug=slug, retired_at__isnull=True)
    assert Counter(found.values_list("category", flat=True)) == expected


def test_titles_are_short_and_none_reads_like_a_standard() -> None:
    for label in Requirement.objects.values_list("label", flat=True):
        assert 2 <= len(label) <= 160
        assert not any(phrase in label.lower() for phrase in ("the entity", "the organization shall", " shall "))


def test_loading_again_changes_nothing() -> None:
    before = (Control.objects.count(), entries(types=["control.declared"]).count())
    loaded = load_packaged()
    assert (loaded.created, loaded.changed) == ((), ())
    assert (Control.objects.count(), entries(types=["control.declared"]).count()) == before
    assert load_packaged_if_changed() is None


def test_the_starter_set_serves_what_reliability_proves() -> None:
    wanted = {"CC4.1", "CC6.2", "CC6.3", "CC7.2", "CC7.3", "CC7.4", "CC7.5", "CC8.1", "CC9.1", "A1.2", "A1.3"}
    wanted |= {"A.5.15", "A.5.16", "A.5.18", "A.5.24", "A.5.25", "A.5.26", "A.5.27", "A.5.28", "A.5.30"}
    wanted |= {"A.8.13", "A.8.14", "A.8.15", "A.8.16", "A.8.32"}
    served = Requirement.objects.filter(links__strength="direct").values_list("ref", flat=True)
    assert wanted <= set(served)
    assert 55 <= Control.objects.count() <= 75
    assert all(Check.objects.filter(control=control, strength="direct").exists() for control in Control.objects.all())


def test_the_starter_set_covers_both_frameworks_whole() -> None:
    wanted = Requirement.objects.filter(framework__slug__in=("soc2", "iso27001"))
    bare = wanted.exclude(links__strength__in=("direct", "partial"))
    assert list(bare.values_list("ref", flat=True)) == []


def test_every_framework_of_the_mapping_is_there() -> None:
    slugs = set(Framework.objects.values_list("slug", flat=True))
    assert slugs == {"soc2", "iso27001", "nist-csf", "gdpr", "ccpa", "iso42001"}
    assert Requirement.objects.count() == 245
