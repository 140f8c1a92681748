"""Actions that other packages bring: what they name under the entry point group `assay.actions`."""

import logging
from importlib.metadata import entry_points

from drivers.data import Action
from drivers.services import register_action

logger = logging.getLogger(__name__)
GROUP = "assay.actions"


def load_plugins() -> list[str]:
    """Register the actions of other packages; returns their names. One that cannot be loaded is told and left out.

    An entry point names an action, a class of one, or a function that returns several.
    """
    loaded: list[str] = []
    for point in entry_points(group=GROUP):
        try:
            found = point.load()
            made = found() if callable(found) else found
            brought: list[Action] = list(made) if isinstance(made, list | tuple) else [made]
            for action in brought:
                register_action(action)
                loaded.append(action.name)
        except Exception:
            # A package that is broken must not keep the site, and with it every runbook, from starting.
            logger.exception("the action %s (%s) could not be loaded", point.name, point.value)
    return loaded
