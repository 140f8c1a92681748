"""Pages of signing in, of one's own account, and of people."""

from accounts.views.people import (
    AccountView,
    PasswordView,
    PersonCreateView,
    PersonDetailView,
    PersonListView,
    TokenRevokeView,
)
from accounts.views.signing import SessionEndView, SignInAgainView, SignInView, SignOutView

__all__ = [
    "AccountView",
    "PasswordView",
    "PersonCreateView",
    "PersonDetailView",
    "PersonListView",
    "SessionEndView",
    "SignInAgainView",
    "SignInView",
    "SignOutView",
    "TokenRevokeView",
]
