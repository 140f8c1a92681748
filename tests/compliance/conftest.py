"""What the tests of compliance share: loaded content, entries as operations leave them, the usual cast."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from compliance.services import load_packaged

SITE = system_principal("test")


@pytest.fixture
def content(db: None, settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path / 'artifacts'}"
    settings.STATE_DIR = tmp_path
    load_packaged()


@pytest.fixture
def person(db: None) -> Callable[..., User]:
    def create(username: str, *roles: Role) -> User:
        user = create_user(principal=SITE, username=username, password=None, full_name=username.title())
        for role in roles:
            grant_role(principal=SITE, user=user, role=role)
        return user

    return create


@pytest.fixture
def manager(person: Callable[..., User]) -> Principal:
    return principal_for_user(user=person("carol", Role.COMPLIANCE_MANAGER))
