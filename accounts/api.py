"""REST: people, teams and tokens."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability, Role
from accounts.domain.lockouts import LockedKind
from accounts.models import ApiToken, RoleGrant, Team, User
from accounts.selectors import (
    locked_out,
    people,
    team_by_slug,
    teams_seen_by,
    tokens_seen_by,
    user_by_username,
)
from accounts.services import (
    DEFAULT_TOKEN_LIFE,
    LastAdminError,
    create_api_token,
    create_team,
    create_user,
    deactivate_user,
    ensure_may,
    grant_role,
    principal_of,
    revoke_api_token,
    revoke_role,
    set_team_members,
    unlock_address,
    unlock_sign_in,
)
from core.clock import database_now
from core.parsing import refuse


class GrantSerializer(serializers.ModelSerializer[RoleGrant]):
    """A role that somebody holds; without a team, for the whole site."""

    team = serializers.CharField(source="team.slug", default=None, allow_null=True, read_only=True)

    class Meta:
        model = RoleGrant
        fields = ("role", "team", "granted_by", "granted_at")


class UserSerializer(serializers.ModelSerializer[User]):
    """A person."""

    name = serializers.CharField(source="__str__", read_only=True)
    teams = serializers.SlugRelatedField(slug_field="slug", many=True, read_only=True)  # type: ignore[var-annotated]
    grants = GrantSerializer(many=True, read_only=True)

    class Meta:
        model = User
        fields = ("username", "name", "email", "time_zone", "is_active", "last_login", "teams", "grants")


class NewUserSerializer(serializers.Serializer[Any]):
    """A person to add. Without a password they cannot sign in."""

    username = serializers.CharField(max_length=150)
    full_name = serializers.CharField(max_length=150, default="", allow_blank=True)
    email = serializers.EmailField(default="", allow_blank=True)
    time_zone = serializers.CharField(max_length=64, default="UTC")
    password = serializers.CharField(default=None, allow_null=True, write_only=True, trim_whitespace=False)


class RoleSerializer(serializers.Serializer[Any]):
    """A role, for the whole site or for a team's things."""

    role = serializers.ChoiceField(choices=[role.value for role in Role])
    team = serializers.SlugField(default="", allow_blank=True)


class TeamSerializer(serializers.ModelSerializer[Team]):
    """A team."""

    members = serializers.SlugRelatedField(slug_field="username", many=True, read_only=True)  # type: ignore[var-annotated]

    class Meta:
        model = Team
        fields = ("slug", "name", "members")


class NewTeamSerializer(serializers.Serializer[Any]):
    """A team to create or rename; `members` replaces who is in it."""

    slug = serializers.SlugField(max_length=63)
    name = serializers.CharField(max_length=120)
    members = serializers.ListField(child=serializers.CharField(max_length=150), required=False, max_length=500)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its secret."""

    owner = serializers.CharField(source="owner.username", read_only=True)
    scopes = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = ApiToken
        fields: tuple[str, ...] = (
            "id",
            "name",
            "owner",
            "hint",
            "scopes",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        )


class TokenWithSecretSerializer(TokenSerializer):
    """The answer to creation: the only time that the secret is shown."""

    secret = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "secret")


class NewTokenSerializer(serializers.Serializer[Any]):
    """A token to make. An administrator may make one for somebody else."""

    name = serializers.CharField(max_length=120)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[one.value for one in Capability]), allow_empty=False
    )
    days = serializers.IntegerField(min_value=1, max_value=366, default=DEFAULT_TOKEN_LIFE.days)
    owner = serializers.CharField(max_length=150, default="", allow_blank=True)


class UserViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[User]):
    """People and their roles, for administrators."""

    queryset = User.objects.none()
    serializer_class = UserSerializer
    lookup_field = "username"
    lookup_value_regex = "[A-Za-z0-9@.+_-]+"

    def get_queryset(self) -> Any:
        ensure_may(principal_of(self.request), Capability.SITE_ADMIN)
        return people()

    @extend_schema(request=NewUserSerializer, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Add a person, without any role."""
        body = _body(NewUserSerializer, request)
        try:
            user = create_user(principal=principal_of(request), **body)
        except ValidationError as error:
            raise refuse("body", found=body["username"], allowed=" ".join(error.messages)) from None
        return Response(UserSerializer(user).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, username: str) -> Response:
        """Close an account: no sign-in, no tokens, no roles. What the person did stays."""
        try:
            deactivate_user(principal=principal_of(request), user=self.get_object())
        except LastAdminError as error:
            raise refuse("username", found=username, allowed=str(error)) from None
        return Response(status=status.HTTP_204_NO_CONTENT)


class UserRoleViewSet(viewsets.GenericViewSet[RoleGrant]):
    """The roles of a person."""

    queryset = RoleGrant.objects.none()
    serializer_class = GrantSerializer

    @extend_schema(request=RoleSerializer, responses={201: GrantSerializer})
    def create(self, request: Request, username: str) -> Response:
        """Grant a role. Granting what they hold changes nothing."""
        user, body = self._user(request, username), _body(RoleSerializer, request)
        grant = grant_role(
            principal=principal_of(request), user=user, role=Role(body["role"]), team=_team(body["team"])
        )
        return Response(GrantSerializer(grant).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=RoleSerializer, responses={204: None})
    def revoke(self, request: Request, username: str) -> Response:
        """Take a role away."""
        user, body = self._user(request, username), _body(RoleSerializer, request)
        try:
            revoke_role(principal=principal_of(request), user=user, role=Role(body["role"]), team=_team(body["team"]))
        except LastAdminError as error:
            raise refuse("body role", found=body["role"], allowed=str(error)) from None
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _user(self, request: Request, username: str) -> User:
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        user = user_by_username(username=username)
        if user is None:
            raise Http404
        return user


class TeamViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Team]):
    """Teams and who is in them."""

    queryset = Team.objects.none()
    serializer_class = TeamSerializer
    lookup_field = "slug"

    def get_queryset(self) -> Any:
        return teams_seen_by(viewer=principal_of(self.request))

    @extend_schema(request=NewTeamSerializer, responses={201: TeamSerializer})
    def create(self, request: Request) -> Response:
        """Create a team, or rename it and set its members."""
        body, principal = _body(NewTeamSerializer, request), principal_of(request)
        team = create_team(principal=principal, slug=body["slug"], name=body["name"])
        if "members" in body:
            set_team_members(principal=principal, team=team, usernames=body["members"])
        return Response(TeamSerializer(team).data, status=status.HTTP_201_CREATED)


class TokenViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[ApiToken]):
    """One's own tokens; an administrator's view is of everybody's."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    lookup_value_regex = "[0-9]+"

    def get_queryset(self) -> Any:
        return tokens_seen_by(viewer=principal_of(self.request))

    @extend_schema(request=NewTokenSerializer, responses={201: TokenWithSecretSerializer})
    def create(self, request: Request) -> Response:
        """Make a token. Its secret is in this answer and never again."""
        body, principal = _body(NewTokenSerializer, request), principal_of(request)
        owner = user_by_username(username=body["owner"]) if body["owner"] else request.user
        if not isinstance(owner, User):
            raise refuse("body owner", found=body["owner"], allowed="the user name of an active person is allowed")
        scopes = [Capability(scope) for scope in body["scopes"]]
        if principal.scopes is not None and (more := set(scopes) - principal.scopes):
            raise refuse("body scopes", found=min(more).value, allowed="a token makes none that may more than itself")
        token, secret = create_api_token(
            principal=principal, owner=owner, name=body["name"], scopes=scopes, life=timedelta(days=body["days"])
        )
        answer = {**TokenSerializer(token).data, "secret": secret}
        return Response(answer, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:  # noqa: ARG002 the route's names
        """End a token at once."""
        revoke_api_token(principal=principal_of(request), token=self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


class LockOutSerializer(serializers.Serializer[Any]):
    """A user name or an address that too many sign-ins failed by."""

    kind = serializers.ChoiceField(choices=[kind.value for kind in LockedKind])
    key = serializers.CharField(max_length=150)
    failures = serializers.IntegerField(read_only=True)
    latest = serializers.DateTimeField(read_only=True)
    until = serializers.DateTimeField(read_only=True)


class LiftedSerializer(serializers.Serializer[Any]):
    """Whether there was anything to lift."""

    lifted = serializers.BooleanField()


class LockOutView(APIView):
    """Who is locked out, for administrators."""

    @extend_schema(responses={200: LockOutSerializer(many=True)})
    def get(self, request: Request) -> Response:
        """List the user names and addresses that are locked out now, the latest first."""
        ensure_may(principal_of(request), Capability.SITE_ADMIN)
        return Response(LockOutSerializer(locked_out(now=database_now()), many=True).data)

    @extend_schema(request=LockOutSerializer, responses={200: LiftedSerializer})
    def post(self, request: Request) -> Response:
        """Lift the lock of a user name or an address by forgetting its failed sign-ins; it is recorded."""
        body, principal = _body(LockOutSerializer, request), principal_of(request)
        if body["kind"] == LockedKind.NAME:
            lifted = unlock_sign_in(principal=principal, username=body["key"])
        else:
            lifted = unlock_address(principal=principal, address=body["key"])
        return Response({"lifted": lifted})


def _team(slug: str) -> Team | None:
    team = team_by_slug(slug=slug) if slug else None
    if slug and team is None:
        raise refuse("body team", found=slug, allowed="the slug of a team is allowed")
    return team


def _body(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    if isinstance(request.data, dict) and (unknown := set(request.data) - set(body.fields)):
        raise refuse(f"body {min(unknown)}", found="an unknown key", allowed=f"{', '.join(body.fields)} are allowed")
    return dict(body.validated_data)
