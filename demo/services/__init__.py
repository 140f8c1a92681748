"""What the demo's commands do."""

from demo.services.loading import LOADER, load_organization
from demo.services.people import PASSWORD, PEOPLE, collector_token
from demo.services.serving import demo_processes

__all__ = ["LOADER", "PASSWORD", "PEOPLE", "collector_token", "demo_processes", "load_organization"]
