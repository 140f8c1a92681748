"""The room's place in the menu."""

from typing import Any

from core.navigation import Entry, add_entry


def may_view(principal: Any) -> bool:
    """Say whether the delivery log opens for the principal."""
    return bool(principal.may("delivery.view"))


add_entry(Entry("Settings", "Deliveries", "delivery:delivery_list", "send", 93, may_view))
add_entry(Entry("Settings", "Webhooks", "delivery:endpoint_list", "webhook", 94, may_view))
add_entry(Entry("Settings", "Connectors", "delivery:connector_list", "plug-connected", 95, may_view))
add_entry(Entry("Settings", "Outside watch", "delivery:outside_watch_list", "eye", 96, may_view))
