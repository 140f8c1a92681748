"""Model fields that keep secrets encrypted at rest."""

import base64
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models


class SecretUnreadableError(RuntimeError):
    """The stored secret was encrypted under another SECRET_KEY."""


def box_of(key: str) -> Fernet:
    """Return what encrypts under a secret key."""
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"assay", info=b"encrypted-field-v1")
    return Fernet(base64.urlsafe_b64encode(derived.derive(key.encode())))


def _decrypt(value: str) -> str:
    """Read under the key in use, or under one that is still accepted. Raises InvalidToken."""
    try:
        return box_of(settings.SECRET_KEY).decrypt(value.encode("ascii")).decode()
    except InvalidToken:
        if not settings.SECRET_KEY_FALLBACKS:
            raise
    accepted = MultiFernet([box_of(key) for key in settings.SECRET_KEY_FALLBACKS])
    return accepted.decrypt(value.encode("ascii")).decode()


def seal(text: str) -> str:
    """Encrypt a secret that is kept inside something else than a field of its own."""
    return box_of(settings.SECRET_KEY).encrypt(text.encode()).decode("ascii")


def is_sealed_under_current_key(sealed: str) -> bool:
    """Say whether a sealed secret needs no renewal."""
    try:
        box_of(settings.SECRET_KEY).decrypt(sealed.encode("ascii"))
    except (InvalidToken, UnicodeEncodeError):
        return False
    return True


def unseal(sealed: str) -> str:
    """Return what was sealed. Raises SecretUnreadableError."""
    try:
        return _decrypt(sealed)
    except InvalidToken:
        raise SecretUnreadableError("A secret was stored under another SECRET_KEY; set it up again.") from None


if TYPE_CHECKING:
    _TextField = models.TextField[str, str]
else:
    _TextField = models.TextField


class EncryptedTextField(_TextField):
    """Text that is stored as a Fernet token under a key derived from SECRET_KEY. It cannot be searched or compared."""

    def get_prep_value(self, value: Any) -> Any:
        if value is None or value == "":
            return value
        return box_of(settings.SECRET_KEY).encrypt(str(value).encode()).decode("ascii")

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        if not value:
            return value
        try:
            return _decrypt(value)
        except InvalidToken:
            raise SecretUnreadableError(
                f"{self.model.__name__}.{self.name} was stored under another SECRET_KEY; "
                "restore that key or enter the secret again."
            ) from None

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None
