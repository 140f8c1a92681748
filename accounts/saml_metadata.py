"""Reads a SAML provider's metadata (OASIS SAML 2.0 Metadata). Imported when first needed: its XML parser is heavy."""

from datetime import datetime
from typing import Any

from lxml.etree import XMLSyntaxError, _Element  # type: ignore[import-untyped]
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Words
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from core.parsing import refuse

ENTITY = f"{{{Words.NS_MD}}}EntityDescriptor"


def read_metadata(content: bytes, *, entity_id: str, now: datetime) -> dict[str, Any]:
    """Return the fields of a SamlConfiguration that metadata say. Raises InputRefusedError.

    `entity_id` chooses among several providers, as federations publish them; "" is enough for one.
    """
    try:
        root = OneLogin_Saml2_XML.to_etree(content)
    except (XMLSyntaxError, ValueError) as error:
        raise refuse("metadata", found=str(error)[:80], allowed="the provider's SAML metadata, as XML") from None
    entities = [root] if root.tag == ENTITY else OneLogin_Saml2_XML.query(root, "//md:EntityDescriptor")
    providers = [one for one in entities if OneLogin_Saml2_XML.query(one, "./md:IDPSSODescriptor")]
    if entity_id:
        providers = [one for one in providers if one.get("entityID") == entity_id]
    if len(providers) != 1:
        found = ", ".join(str(one.get("entityID")) for one in providers[:3]) or "none"
        wanted = f"the identity provider {entity_id}" if entity_id else "one identity provider"
        raise refuse("metadata", found=found, allowed=f"{wanted} is needed; its entity ID chooses among several")
    entity = providers[0]
    _ensure_valid([root, entity], now)
    descriptor = OneLogin_Saml2_XML.query(entity, "./md:IDPSSODescriptor")[0]
    by_redirect = _location(descriptor, "SingleLogoutService")
    by_post = _location(descriptor, "SingleLogoutService", Words.BINDING_HTTP_POST)
    told: dict[str, Any] = {
        "entity_id": entity.get("entityID", ""),
        "sso_url": _location(descriptor, "SingleSignOnService"),
        "slo_url": by_redirect or by_post,
        "slo_by_post": bool(by_post and not by_redirect),
        "certificate": "\n".join(_signing(descriptor)),
    }
    if not told["sso_url"]:
        raise refuse("metadata", found="none", allowed="a SingleSignOnService by HTTP-Redirect is needed")
    if not told["certificate"]:
        raise refuse("metadata", found="none", allowed="a certificate to sign with is needed")
    if descriptor.get("WantAuthnRequestsSigned") == "true":
        told["signs_requests"] = True
    return told


def _ensure_valid(elements: list[_Element], now: datetime) -> None:
    for element in elements:
        until = element.get("validUntil")
        if until and OneLogin_Saml2_Utils.parse_SAML_to_time(until) <= now.timestamp():
            raise refuse("metadata", found=f"valid until {until}", allowed="metadata that are still valid are needed")


def _location(descriptor: _Element, service: str, binding: str = Words.BINDING_HTTP_REDIRECT) -> str:
    found = OneLogin_Saml2_XML.query(descriptor, f"./md:{service}[@Binding='{binding}']")
    return str(found[0].get("Location", "")) if found else ""


def _signing(descriptor: _Element) -> list[str]:
    path = "./md:KeyDescriptor[not(@use) or @use='signing']/ds:KeyInfo/ds:X509Data/ds:X509Certificate"
    bodies = ("".join((node.text or "").split()) for node in OneLogin_Saml2_XML.query(descriptor, path))
    return list(dict.fromkeys(body for body in bodies if body))
