"""OpenID Connect: the library's protocol, with the ID token always verified. Imported with its first request."""

import json
from typing import Any

import jwt
import requests
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base import ProviderException
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import Http404, HttpRequest, HttpResponse

from accounts.adapters import refusal
from accounts.services import proved_there

# How far the provider's clock may be from this one.
CLOCK_SKEW_SECONDS = 90
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


class VerifyingAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]  # the library's classes are untyped
    """Believes an ID token by its signature alone, and user information only about the same subject."""

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        if not kwargs["response"].get("id_token"):
            raise OAuth2Error("the provider sent no ID token")
        login = super().complete_login(request, app, token, **kwargs)
        said = login.account.extra_data
        if said.get("userinfo", {}).get("sub") != said["id_token"].get("sub"):
            raise OAuth2Error("the user information is about somebody else than the ID token")
        proved_there(request, said=said["id_token"].get("auth_time"))
        return login

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(id_token)
            return dict(
                jwt.decode(
                    id_token,
                    key=self._key(header),
                    algorithms=[*ALGORITHMS],
                    issuer=self.openid_config["issuer"],
                    audience=app.client_id,
                    leeway=CLOCK_SKEW_SECONDS,
                    options={"require": ["exp", "iat", "sub", "aud", "iss"]},
                )
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            clocks = f"set the clocks of both machines right (a difference of {CLOCK_SKEW_SECONDS} seconds is allowed)"
            raise OAuth2Error(f"the ID token was not accepted: {error}: {clocks}") from error
        except jwt.PyJWTError as error:
            raise OAuth2Error(f"the ID token was not accepted: {error}") from error

    def _key(self, header: dict[str, Any]) -> Any:
        with self._session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
            keys = answer.json().get("keys", [])
        named = [key for key in keys if key.get("kid") == header.get("kid")] if header.get("kid") else keys
        if len(named) != 1:
            raise OAuth2Error("the provider has no key of the name that the ID token says")
        return jwt.PyJWK.from_json(json.dumps({"alg": header.get("alg"), **named[0]}))

    def _session(self) -> requests.Session:
        from allauth.socialaccount.adapter import get_adapter  # noqa: PLC0415 the setting names it

        session: requests.Session = get_adapter().get_requests_session()
        return session


def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the provider."""
    return _run(OAuth2LoginView, request, provider_id)


def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Take the provider's answer."""
    return _run(OAuth2CallbackView, request, provider_id)


def _run(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        answer: HttpResponse = view.adapter_view(VerifyingAdapter(request, provider_id))(request)
    except SocialApp.DoesNotExist:
        raise Http404 from None
    except (requests.RequestException, OAuth2Error, ProviderException, KeyError, ValueError) as error:
        return refusal(request, provider_id, error)
    return answer
