"""What the room keeps of people."""

from datetime import datetime, timedelta

from django.contrib.sessions.models import Session
from django.db.models import CASCADE, Q, QuerySet

from accounts.models import ApiToken, ProvidedIdentity, RoleGrant, SignInFailure, SignInSession, User
from core.clock import database_now
from core.lifecycle import DataClass, Person, PersonalData, deleted, register_class, register_personal

# Identities, factors and sessions, of this room and of the library that signs people in.
OWN_AND_SIGN_IN = {"accounts", "account", "mfa", "socialaccount"}


def _account(person: Person) -> QuerySet[User]:
    return User.objects.filter(pk=person.user_id)


def _erase_account(person: Person) -> int:
    """Close the account and empty it. The row stays: what the person did refers to its number."""
    user = User.objects.get(pk=person.user_id)
    user.username, user.first_name, user.last_name, user.email = f"erased-{user.pk}", "", "", ""
    user.is_active, user.time_zone, user.last_login = False, "UTC", None
    user.set_unusable_password()
    user.save()
    user.teams.clear()
    user.directory_groups.clear()
    RoleGrant.objects.filter(user=user).delete()
    ApiToken.objects.filter(owner=user, revoked_at__isnull=True).update(revoked_at=database_now())
    ApiToken.objects.filter(owner=user).update(name="erased")
    for relation in User._meta.related_objects:  # noqa: SLF001 Django's documented names
        model = relation.related_model
        app = model._meta.app_label  # noqa: SLF001
        if app in OWN_AND_SIGN_IN and model is not ApiToken and relation.on_delete is CASCADE:
            model._base_manager.filter(**{relation.field.name: user.pk}).delete()  # noqa: SLF001
    for session in Session.objects.filter(expire_date__gt=database_now()).iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()
    return 1


def _failures(person: Person) -> QuerySet[SignInFailure]:
    return SignInFailure.objects.filter(username=person.username)


def _over(before: datetime) -> QuerySet[SignInSession]:
    return SignInSession.objects.filter(ended_at__lt=before)


def _dead_tokens(before: datetime) -> QuerySet[ApiToken]:
    return ApiToken.objects.filter(Q(revoked_at__lt=before) | Q(expires_at__lt=before))


register_class(
    DataClass(
        key="accounts.sessions",
        name="Sessions that are over",
        says="Who was signed in with which browser, and from where. That somebody signed in stays in the ledger.",
        default=timedelta(days=90),
        floor=timedelta(days=7),
        ceiling=timedelta(days=400),
        old=_over,
        at="ended_at",
        spare=lambda rows, _: rows,
        person="user_id",
    )
)
register_class(
    DataClass(
        key="accounts.sign_in_failures",
        name="Failed sign-ins",
        says="Name, address and instant. Lock-outs stay in the ledger.",
        default=timedelta(days=1),
        floor=timedelta(days=1),
        ceiling=timedelta(days=90),
        old=lambda before: SignInFailure.objects.filter(failed_at__lt=before),
        at="failed_at",
        spare=lambda rows, _: rows,
    )
)
register_class(
    DataClass(
        key="accounts.tokens",
        name="API tokens that open nothing",
        says="Tokens that were revoked or expired that long ago. That they were made and ended stays in the ledger.",
        default=timedelta(days=400),
        floor=timedelta(days=30),
        ceiling=timedelta(days=3650),
        old=_dead_tokens,
        at="expires_at",
        spare=lambda rows, _: rows,
        person="owner_id",
    )
)
register_personal(
    PersonalData(
        key="accounts.account",
        name="Account",
        rows=_account,
        shown=("username", "first_name", "last_name", "email", "time_zone", "date_joined", "last_login", "is_active"),
        erase=_erase_account,
    )
)
register_personal(
    PersonalData(
        key="accounts.grants",
        name="Roles",
        rows=lambda person: RoleGrant.objects.filter(user_id=person.user_id).select_related("team"),
        shown=("role", "team", "granted_by", "granted_at"),
        erase=deleted(lambda person: RoleGrant.objects.filter(user_id=person.user_id)),
    )
)
register_personal(
    PersonalData(
        key="accounts.sign_in_failures",
        name="Failed sign-ins",
        rows=_failures,
        shown=("address", "failed_at"),
        erase=deleted(_failures),
    )
)
register_personal(
    PersonalData(
        key="accounts.tokens",
        name="API tokens",
        rows=lambda person: ApiToken.objects.filter(owner_id=person.user_id),
        shown=("name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"),
        kept_because="A token is revoked and its name emptied; what it did refers to its number.",
    )
)
register_personal(
    PersonalData(
        key="accounts.sessions",
        name="Sessions",
        rows=lambda person: SignInSession.objects.filter(user_id=person.user_id),
        shown=("method", "address", "agent", "signed_in_at", "seen_at", "ended_at"),
        erase=deleted(lambda person: SignInSession.objects.filter(user_id=person.user_id)),
    )
)
register_personal(
    PersonalData(
        key="accounts.identities",
        name="Known to identity providers",
        rows=lambda person: ProvidedIdentity.objects.filter(user_id=person.user_id).select_related("provider"),
        shown=("provider", "subject", "groups", "told_at"),
        erase=deleted(lambda person: ProvidedIdentity.objects.filter(user_id=person.user_id)),
    )
)
