"""SAML messages as this site takes them: clocks may differ a little, keys may be changing, refusals say what to change.

Imported with the first request by SAML, for the library is heavy.
"""

from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from secrets import token_hex
from typing import Any

import xmlsec
from allauth.socialaccount.providers.saml.utils import build_saml_config, prepare_django_request
from django.http import HttpRequest
from lxml.etree import Comment, tostring  # type: ignore[import-untyped]
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from accounts.domain.certificates import Certificate, read_certificate
from accounts.domain.providers import SamlConfiguration
from accounts.models import IdentityProvider, ProviderKey
from accounts.services import provider_configuration

CONFIRMATIONS = "/saml:Subject/saml:SubjectConfirmation"
PRESENT = "upload the provider's present metadata at its page in the settings"


class TolerantResponse(OneLogin_Saml2_Response):  # type: ignore[misc]  # the library is untyped
    """An answer whose instants may lie a little off: `tolerance` seconds, both ways."""

    def __init__(self, settings: Any, response: str, *, tolerance: int) -> None:
        self._tolerance = tolerance
        super().__init__(settings, response)

    def validate_timestamps(self, *, raise_exceptions: bool = False) -> bool:  # noqa: ARG002 the library's signature
        """Raise OneLogin_Saml2_ValidationError unless the assertion is valid now, give or take the tolerance."""
        now = OneLogin_Saml2_Utils.now()
        for node in self._query_assertion("/saml:Conditions"):
            begin, end = _stamp(node.get("NotBefore")), _stamp(node.get("NotOnOrAfter"))
            if begin is not None and begin > now + self._tolerance:
                raise OneLogin_Saml2_ValidationError(
                    f"The assertion is not yet valid, for another {begin - now} seconds: {_clocks(self._tolerance)}",
                    OneLogin_Saml2_ValidationError.ASSERTION_TOO_EARLY,
                )
            if end is not None and end + self._tolerance <= now:
                raise OneLogin_Saml2_ValidationError(
                    f"The assertion has expired {now - end} seconds ago: {_clocks(self._tolerance)}",
                    OneLogin_Saml2_ValidationError.ASSERTION_EXPIRED,
                )
        return True

    def get_session_not_on_or_after(self) -> int | None:
        until = super().get_session_not_on_or_after()
        return None if until is None else int(until) + self._tolerance

    def _decrypt_assertion(self, xml: Any) -> Any:
        """Return the answer with its assertion in the open.

        The plain text is put in its place as text: moving the element would let the parser give it the prefixes of
        what is around it, and the signature would no longer fit.
        """
        key = self._settings.get_sp_key()
        if not key:
            raise OneLogin_Saml2_Error(
                "The assertion is encrypted, and this site has no key.", OneLogin_Saml2_Error.PRIVATE_KEY_NOT_FOUND
            )
        [wrapped, *_] = OneLogin_Saml2_XML.query(xml, "/samlp:Response/saml:EncryptedAssertion")
        for secret in OneLogin_Saml2_XML.query(wrapped, "./xenc:EncryptedData")[:1]:
            for info in OneLogin_Saml2_XML.query(secret, "./ds:KeyInfo"):
                for pointer in OneLogin_Saml2_XML.query(info, "./ds:RetrievalMethod[starts-with(@URI, '#')]"):
                    where = pointer.get("URI")[1:]
                    info.extend(OneLogin_Saml2_XML.query(wrapped, "./xenc:EncryptedKey[@Id=$tagid]", None, where))
            plain = OneLogin_Saml2_Utils.decrypt_element(secret, key, inplace=True)
            text, mark = tostring(plain, with_tail=False), token_hex(16)
            wrapped.getparent().replace(wrapped, Comment(mark))
            return OneLogin_Saml2_XML.to_etree(tostring(xml).replace(f"<!--{mark}-->".encode(), text))
        return xml

    def _query_assertion(self, xpath_expr: str) -> Any:
        found = super()._query_assertion(xpath_expr)
        if xpath_expr != CONFIRMATIONS:
            return found
        # Copies: what was signed stays as it came.
        copies = [deepcopy(node) for node in found]
        for data in (one for node in copies for one in node):
            for name, sign in (("NotBefore", -1), ("NotOnOrAfter", 1)):
                stamp = _stamp(data.get(name))
                if stamp is not None:
                    data.set(name, OneLogin_Saml2_Utils.parse_time_to_SAML(stamp + sign * self._tolerance))
        return copies


def saml_auth(
    request: HttpRequest, app: Any, provider: IdentityProvider, *, key: ProviderKey | None = None, signed: bool = False
) -> OneLogin_Saml2_Auth:
    """Return the library's handle on a message in this request; `signed` asks the message itself to be signed."""
    configuration = saml_configuration(provider)
    settings = build_saml_config(request, app.settings, provider.slug)
    known = holding_certificates(configuration)
    settings["idp"].pop("x509cert", None)
    settings["idp"]["x509certMulti"] = {"signing": [one.body for one in known], "encryption": []}
    settings["security"]["wantMessagesSigned"] = signed
    if key is not None:
        settings["sp"]["privateKey"], settings["sp"]["x509cert"] = key.private_key, key.certificate
    asked = prepare_django_request(request)
    # The signature of a redirect covers the text as it came; providers do not agree on how to quote it.
    asked["query_string"], asked["validate_signature_from_qs"] = request.META.get("QUERY_STRING", ""), True
    auth = OneLogin_Saml2_Auth(asked, settings)
    auth.response_class = partial(TolerantResponse, tolerance=configuration.clock_tolerance_seconds)
    return auth


def saml_configuration(provider: IdentityProvider) -> SamlConfiguration:
    """Return what is written down about a SAML provider."""
    configuration = provider_configuration(provider)
    assert isinstance(configuration, SamlConfiguration)  # noqa: S101 only such providers have these addresses
    return configuration


def known_certificates(configuration: SamlConfiguration) -> list[Certificate]:
    """Return the certificates that a provider is known to sign with."""
    return [read_certificate(body) for body in configuration.certificates]


def holding_certificates(configuration: SamlConfiguration) -> list[Certificate]:
    """Return those of them that hold now; no other is trusted."""
    now = datetime.now(tz=UTC)
    return [one for one in known_certificates(configuration) if one.holds_at(now)]


def all_expired(configuration: SamlConfiguration) -> str:
    """Return what to do when every certificate that is written down has expired; nothing when one holds."""
    now, known = datetime.now(tz=UTC), known_certificates(configuration)
    if any(one.holds_at(now) for one in known):
        return ""
    last = max(one.not_after for one in known)
    return f"Every certificate that is written down for it has expired, the last on {last:%Y-%m-%d}: {PRESENT}."


def process_answer(
    request: HttpRequest, app: Any, provider: IdentityProvider
) -> tuple[OneLogin_Saml2_Auth | None, str]:
    """Judge an answer; returns the handle and why it is refused ("" when it is not).

    What was encrypted for the key of before is opened with that.
    """
    keys: list[ProviderKey | None] = list(
        ProviderKey.objects.filter(provider=provider).exclude(state=ProviderKey.State.NEXT).order_by("state")
    )
    keys += list(ProviderKey.objects.filter(provider=provider, state=ProviderKey.State.NEXT))
    why = all_expired(saml_configuration(provider))
    if why:
        return None, why
    auth = None
    for key in keys or [None]:
        auth = saml_auth(request, app, provider, key=key)
        try:
            # Whether the answer belongs to a request of this browser is judged by the caller.
            auth.process_response(request_id=None)
        except xmlsec.Error:
            continue
        except OneLogin_Saml2_Error as error:
            return auth, str(error)
        if auth.get_errors():
            return auth, advice(auth, provider)
        return auth, ""
    return auth, (
        "The assertion was encrypted for a key that is not this site's: let the provider read this site's metadata "
        "again, whose certificate it has to encrypt with."
    )


def advice(auth: OneLogin_Saml2_Auth, provider: IdentityProvider) -> str:
    """Return why an answer was refused, and what to change."""
    reason, configuration = str(auth.get_last_error_reason() or "It was refused"), saml_configuration(provider)
    if "Signature validation failed" in reason:
        return f"{reason}. {_about_signer(auth, configuration)}"
    told = {
        "Deprecated signature": "Let the provider sign with RSA-SHA256 or better.",
        "Deprecated digest": "Let the provider use SHA-256 digests or better.",
        "not encrypted": "Let the provider encrypt assertions with the certificate of this site's metadata, "
        "or no longer ask for it at its page in the settings.",
        "is not a valid audience": "Write down the entity ID of this site's metadata there.",
        "was received at": "Write down the address for answers of this site's metadata there.",
        "Invalid issuer": f"The entity ID that is written down here is {configuration.entity_id}: {PRESENT}.",
        "SubjectConfirmation was not found": "It names another place for the answer, or "
        + _clocks(configuration.clock_tolerance_seconds),
        "is not signed": "Let the provider sign the assertion, not the message alone.",
        "No Signature": "Let the provider sign the assertion.",
    }
    return next((f"{reason.rstrip('.')}. {what}" for part, what in told.items() if part in reason), reason)


def _about_signer(auth: OneLogin_Saml2_Auth, configuration: SamlConfiguration) -> str:
    known = {one.fingerprint: one for one in known_certificates(configuration)}
    document = OneLogin_Saml2_XML.to_etree(auth.get_last_response_xml())
    for node in OneLogin_Saml2_XML.query(document, "//ds:Signature/ds:KeyInfo/ds:X509Data/ds:X509Certificate"):
        try:
            used = read_certificate("".join((node.text or "").split()))
        except ValueError:
            continue
        if used.fingerprint not in known:
            return f"It is signed with {used}, which is not written down here: if the provider has it anew, {PRESENT}."
        if not used.holds_at(datetime.now(tz=UTC)):
            return f"It is signed with {used}, which has expired on {used.not_after:%Y-%m-%d}: {PRESENT}."
        return "It is signed with a known certificate, but was changed afterwards."
    return f"It is not signed with a certificate that is written down here: if the provider has a new one, {PRESENT}."


def _clocks(tolerance: int) -> str:
    return (
        f"set the clocks of both machines right (a difference of {tolerance} seconds is allowed, at most 300 can be)."
    )


def _stamp(text: str | None) -> int | None:
    return None if not text else int(OneLogin_Saml2_Utils.parse_SAML_to_time(text))
