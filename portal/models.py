"""What people keep of the pages."""

from django.conf import settings
from django.db import models


class SavedView(models.Model):
    """A named address of a list: filters, search, sorting, grouping and columns. Private, or shared with a team."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    page = models.CharField(max_length=120, help_text="The URL name of the list.")
    name = models.CharField(max_length=80)
    query = models.TextField(blank=True)
    team = models.ForeignKey(
        "accounts.Team", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", help_text="Empty: private."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("page", "name", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "page", "name"),
                name="one_saved_view_of_a_name",
                violation_error_message="You have a view of this name for this list already.",
            ),
        )

    def __str__(self) -> str:
        return self.name


class OpeningView(models.Model):
    """The view with which a person's list opens."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    page = models.CharField(max_length=120)
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="+")

    class Meta:
        ordering = ("user_id", "page")
        constraints = (models.UniqueConstraint(fields=("user", "page"), name="one_opening_view_a_list"),)

    def __str__(self) -> str:
        return f"{self.page} opens with {self.view}"
