import gc

# Modules are no garbage: with Python's own threshold a fifth of the start is spent on looking for some.
gc.set_threshold(50_000, 20, 20)

from config.celery import app as celery_app  # noqa: E402 what is imported is what the threshold is for

__all__ = ["celery_app"]
