"""Orders are signed for one question of one agent: none can be made up, changed, or used twice."""

import hashlib
import hmac
import json
from typing import Any

NONCE_BYTES = 16


class WrongSignatureError(ValueError):
    """What came does not carry the site's signature for this question."""


def sign(body: str, *, key: str, nonce: str) -> str:
    """Return the signature of a body as the answer to the question that carried the nonce."""
    return hmac.new(bytes.fromhex(key), f"{nonce}\n{body}".encode(), hashlib.sha256).hexdigest()


def signed(orders: list[dict[str, Any]], *, key: str, nonce: str) -> dict[str, str]:
    """Return orders as the site sends them."""
    body = json.dumps({"orders": orders}, sort_keys=True)
    return {"body": body, "signature": sign(body, key=key, nonce=nonce)}


def opened(answer: Any, *, key: str, nonce: str) -> list[dict[str, Any]]:
    """Return the orders of an answer. Raises WrongSignatureError."""
    body, signature = (answer.get("body"), answer.get("signature")) if isinstance(answer, dict) else (None, None)
    if not isinstance(body, str) or not isinstance(signature, str):
        raise WrongSignatureError("the answer is not signed")
    if not hmac.compare_digest(sign(body, key=key, nonce=nonce), signature):
        raise WrongSignatureError("the signature is not the site's for this question")
    orders: list[dict[str, Any]] = json.loads(body)["orders"]
    return orders
