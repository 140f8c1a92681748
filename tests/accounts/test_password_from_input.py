"""The first administrator is made by a script that puts the password into no list of processes."""

import io
import sys

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command


@pytest.mark.django_db
def test_a_password_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\nmore\n"))
    call_command("account", "create-user", "ada", "--role", "admin", "--password", "-")
    assert authenticate(username="ada", password="correct horse battery") is not None
