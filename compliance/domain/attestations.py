"""Evidence that a collector elsewhere signed: DSSE envelopes around in-toto statements.

The envelope is the one of secure-systems-lab/dsse (protocol version 1): what is signed is the pre-authentication
encoding of type and payload, never bare JSON. The payload is an in-toto Statement v1 about files, by SHA-256.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:assay:evidence:v1"


class ForgedError(ValueError):
    """The envelope is not what it claims to be."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Signature(_Strict):
    """One signature; `keyid` names a collector's key."""

    keyid: str = Field(min_length=1, max_length=63)
    sig: str = Field(max_length=200)


class Envelope(_Strict):
    """A DSSE envelope."""

    payload: str
    payloadType: str  # noqa: N815 the format's own spelling
    signatures: list[Signature] = Field(min_length=1, max_length=10)


class Subject(_Strict):
    """A file, by its digest."""

    name: str
    digest: dict[str, str]


class EvidencePredicate(_Strict):
    """What the collector says about the files."""

    control: str
    title: str
    statement: str = ""
    evidence_type: str = ""
    external_id: str = ""
    source: str
    query: str = ""
    period_start: datetime
    period_end: datetime
    observed_at: datetime | None = None
    collected_at: datetime | None = None


class Statement(_Strict):
    """An in-toto Statement v1 with this project's predicate."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Subject] = Field(min_length=1)
    predicateType: Literal["urn:assay:evidence:v1"]  # noqa: N815 the format's own spelling
    predicate: EvidencePredicate


@dataclass(frozen=True)
class Opened:
    """What was signed, and by which key."""

    key: str
    payload: bytes


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: `DSSEv1 LEN TYPE LEN PAYLOAD`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def opened(envelope: Envelope, keys: Mapping[str, bytes]) -> Opened:
    """Return the payload if one of the known keys signed it. Raises ForgedError with the reason."""
    if envelope.payloadType != PAYLOAD_TYPE:
        raise ForgedError(f"the payload type is {envelope.payloadType[:60]}; {PAYLOAD_TYPE} is allowed")
    payload = _decoded(envelope.payload, "the payload")
    said = pre_authentication(envelope.payloadType, payload)
    known = [one for one in envelope.signatures if one.keyid in keys]
    if not known:
        raise ForgedError("no signature names a key that this site knows and has not revoked")
    for one in known:
        try:
            Ed25519PublicKey.from_public_bytes(keys[one.keyid]).verify(_decoded(one.sig, "a signature"), said)
        except (InvalidSignature, ValueError):
            continue
        return Opened(one.keyid, payload)
    raise ForgedError(f"the signature of {known[0].keyid} does not fit the payload")


def subject_problem(statement: Statement, digest: str) -> str:
    """Say why a file is not the one that the statement speaks of; nothing when it is."""
    named = [one.digest.get("sha256", "") for one in statement.subject]
    return "" if digest in named else "the file is not the one that the statement names by its SHA-256"


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ForgedError(f"{what} is not base64") from None


def raw_key(text: str) -> bytes:
    """Return a public key's 32 bytes. Raises ForgedError."""
    raw = _decoded(text.strip(), "the key")
    if len(raw) != 32:
        raise ForgedError("an Ed25519 public key has 32 bytes")
    return raw
