"""What the demo's commands do."""

from demo.services.loading import LOADER, load_organization, load_prometheus
from demo.services.people import PASSWORD, PEOPLE, collector_token
from demo.services.practising import Practice, PracticeError
from demo.services.serving import demo_processes
from demo.services.story import Story, StoryError

__all__ = [
    "LOADER",
    "PASSWORD",
    "PEOPLE",
    "Practice",
    "PracticeError",
    "Story",
    "StoryError",
    "collector_token",
    "demo_processes",
    "load_organization",
    "load_prometheus",
]
