"""What the room's pages share."""

from functools import cached_property
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from django.views import View

from accounts.services import principal_of
from compliance.data import (
    EXPLANATIONS,
    TONES,
    WORDS,
    Access,
    Standing,
)
from compliance.selectors import (
    access_of,
)

LEGEND = [(WORDS[one], TONES[one].value, EXPLANATIONS[one]) for one in Standing]


class ComplianceView(LoginRequiredMixin, View):
    """A page that opens for those who may see something of compliance, and shows them that much."""

    @cached_property
    def access(self) -> Access:
        """What the reader may see."""
        found = access_of(principal_of(self.request))
        if not found.anything:
            raise PermissionDenied(
                "Compliance is open to compliance managers, administrators, and auditors with a grant for an audit."
            )
        return found

    def find(self, records: QuerySet[Any], **wanted: Any) -> Any:
        """Return the one record that the reader may see, or answer 404."""
        found = records.filter(**wanted).first()
        if found is None:
            raise Http404("There is no such page for you.")
        return found
