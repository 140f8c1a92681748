"""Tells other rooms how long the site keeps a class of data, and what is held."""

from datetime import timedelta

from core.lifecycle import DataClass, register_hold_lookup, register_keep_lookup
from custody.models import RetentionRule
from custody.selectors import holding, keep_for


def _kept_for(one: DataClass) -> timedelta | None:
    return keep_for(one, RetentionRule.objects.filter(key=one.key).first())


register_keep_lookup(_kept_for)
register_hold_lookup(lambda one: holding().keeps_all_of(one))
