"""What tests need of the database that they run on; the suite runs on SQLite and again on PostgreSQL."""

import pytest
from django.db import connection

by_month = pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL keeps tables by month")
