from collections.abc import Iterable

from accounts.data import Capability, Principal
from chaos.recovery_selectors import recovery_tests_visible
from chaos.selectors import experiments_visible
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


def find_experiments(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find experiments by title or slug."""
    found = experiments_visible(viewer=principal)
    for word in text.split():
        found = found.filter(title__icontains=word) | found.filter(slug__icontains=word)
    for experiment in found[:limit]:
        yield Hit("Experiment", str(experiment), f"/chaos/{experiment.slug}/", experiment.slug)


add_entry(Entry("Prove", "Chaos", "chaos:experiment_list", "flask", 30, may_view))
add_search(SearchProvider("Experiment", 30, find_experiments))


def find_recovery_tests(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find recovery tests by title or slug."""
    found = recovery_tests_visible(viewer=principal)
    for word in text.split():
        found = found.filter(title__icontains=word) | found.filter(slug__icontains=word)
    for test in found[:limit]:
        yield Hit("Recovery test", str(test), test.get_absolute_url(), test.slug)


add_entry(Entry("Prove", "Recovery", "chaos:recovery_list", "lifebuoy", 31, may_view))
add_search(SearchProvider("Recovery test", 31, find_recovery_tests))
