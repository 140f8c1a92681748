"""What the room keeps of people."""

from django.db.models import QuerySet

from core.lifecycle import Person, PersonalData, deleted, register_personal
from portal.models import SavedView


def _own_views(person: Person) -> QuerySet[SavedView]:
    return SavedView.objects.filter(owner_id=person.user_id)


register_personal(
    PersonalData(
        key="portal.saved_views",
        name="Saved views of lists",
        rows=_own_views,
        shown=("page", "name", "query", "team", "updated_at"),
        erase=deleted(lambda person: _own_views(person).filter(team=None)),
    )
)
