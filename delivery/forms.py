"""Forms of the room's pages."""

from django import forms


class EndpointForm(forms.Form):
    """A receiver of signed webhooks."""

    slug = forms.SlugField(max_length=63, label="Name", help_text="Lower-case letters, digits and hyphens.")
    url = forms.CharField(max_length=500, label="Address", help_text="https://…; it gets a POST for each message.")
    event_kinds = forms.CharField(
        required=False,
        max_length=1000,
        help_text="Kinds of events, parted by spaces: incident.opened, or incident.* for all of a room.",
    )
    allow = forms.CharField(
        required=False,
        max_length=1000,
        label="Allowed private hosts",
        help_text="Hosts or networks (10.0.0.0/8) that this address may be at although they are private.",
    )
