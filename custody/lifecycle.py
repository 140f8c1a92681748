"""Tells other rooms how long the site keeps a class of data."""

from datetime import timedelta

from core.lifecycle import DataClass, register_keep_lookup
from custody.models import RetentionRule
from custody.selectors import keep_for


def _kept_for(one: DataClass) -> timedelta | None:
    return keep_for(one, RetentionRule.objects.filter(key=one.key).first())


register_keep_lookup(_kept_for)
