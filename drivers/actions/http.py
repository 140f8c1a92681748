"""HTTP: look at a URL, or send a request that changes something."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from core.http import OutboundRefusedError, guarded_session
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services.faults import OneWay

KEPT_ANSWER = 2000
RISK_OF_METHOD = {
    "GET": Risk.READ,
    "HEAD": Risk.READ,
    "OPTIONS": Risk.READ,
    "POST": Risk.CHANGE,
    "PUT": Risk.CHANGE,
    "PATCH": Risk.CHANGE,
    "DELETE": Risk.DESTRUCTIVE,
}
# Set by the client itself; set twice, they would let a request say two things.
OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key"})
SECRET_HEADERS = ("authorization", "cookie", "token", "key", "secret", "password")


class HttpArguments(Arguments):
    """What to ask for; `allow` names private hosts or networks that this check may reach."""

    url: str = Field(pattern=r"^https?://", max_length=2000)
    expect_status: int = Field(default=200, ge=100, le=599)
    timeout_seconds: float = Field(default=5, gt=0, le=60)
    allow: list[str] = []


def _plain_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not name.isascii() or not name.replace("-", "").isalnum() or name.lower() in OWN_HEADERS:
            raise ValueError(f"the header {name!r} cannot be set here")
        if any(character in value for character in "\r\n\0"):
            raise ValueError(f"the header {name!r} holds a line break")
        if any(word in name.lower() for word in SECRET_HEADERS):
            raise ValueError(f"the header {name!r} would put a secret into a file and the ledger")
    return headers


class RequestArguments(Arguments):
    """What to send. `json` and `text` exclude each other; `expect_status` lists what counts as done."""

    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    url: str = Field(pattern=r"^https?://", max_length=2000)
    headers: Annotated[dict[str, str], AfterValidator(_plain_headers)] = Field(default={}, max_length=20)
    json_body: JsonValue = Field(default=None, alias="json")
    text: str | None = Field(default=None, max_length=100_000)
    expect_status: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default=[200, 201, 202, 204], min_length=1, max_length=20
    )
    timeout_seconds: float = Field(default=10, gt=0, le=60)
    allow: list[str] = []

    @model_validator(mode="after")
    def _one_body(self) -> "RequestArguments":
        if self.json_body is not None and self.text is not None:
            raise ValueError("give json or text, not both")
        return self


class CheckHttp(OneWay):
    """Asks a URL and compares the status."""

    name: ClassVar[str] = "http.check"
    description: ClassVar[str] = "Ask a URL and compare the status of its answer."
    arguments: ClassVar[type[Arguments]] = HttpArguments
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL

    def probe(self, arguments: HttpArguments) -> Support:  # noqa: ARG002
        return Support(supported=True)

    def plan(self, arguments: HttpArguments) -> Plan:
        return Plan(
            summary=f"GET {arguments.url}, expect {arguments.expect_status}",
            targets=(Target("url", arguments.url),),
            commands=(f"GET {arguments.url}",),
        )

    def run(self, arguments: HttpArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        try:
            with guarded_session(allow=arguments.allow, timeout_seconds=arguments.timeout_seconds) as session:
                status = session.get(arguments.url).status_code
        except (OutboundRefusedError, OSError) as error:
            return ActionResult(ok=False, output={"value": 0}, error=str(error))
        good = status == arguments.expect_status
        return ActionResult(ok=good, output={"value": status}, error="" if good else f"status {status}")


class SendRequest(OneWay):
    """Sends a request; the receiver can tell a repeat by its Idempotency-Key."""

    name: ClassVar[str] = "http.request"
    description: ClassVar[str] = (
        "Send an HTTP request and compare its status. GET, HEAD and OPTIONS look; POST, PUT and PATCH change; "
        "DELETE breaks. An Idempotency-Key header lets the receiver tell a repeat."
    )
    arguments: ClassVar[type[Arguments]] = RequestArguments
    # The worst that its arguments may ask for; risk_of says what these arguments do ask for.
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    idempotency: ClassVar[Idempotency] = Idempotency.KEY
    instead: ClassVar[str] = "a request cannot be taken back"

    def risk_of(self, arguments: RequestArguments) -> Risk:
        """Return what this method may do."""
        return RISK_OF_METHOD[arguments.method]

    def probe(self, arguments: RequestArguments) -> Support:  # noqa: ARG002
        return Support(supported=True)

    def plan(self, arguments: RequestArguments) -> Plan:
        expected = ", ".join(str(status) for status in arguments.expect_status)
        return Plan(
            summary=f"{arguments.method} {arguments.url}, expect {expected} ({self.risk_of(arguments).value})",
            targets=(Target("url", arguments.url),),
            commands=(f"{arguments.method} {arguments.url}",),
        )

    def run(self, arguments: RequestArguments, *, idempotency_key: str) -> ActionResult:
        headers = {**arguments.headers, "Idempotency-Key": idempotency_key}
        body: dict[str, Any] = {}
        if arguments.json_body is not None:
            body["json"] = arguments.json_body
        elif arguments.text is not None:
            body["data"] = arguments.text.encode()
        try:
            with guarded_session(allow=arguments.allow, timeout_seconds=arguments.timeout_seconds) as session:
                answer = session.request(arguments.method, arguments.url, headers=headers, **body)
        except (OutboundRefusedError, OSError) as error:
            return ActionResult(ok=False, output={"value": 0}, error=str(error))
        output = {"value": answer.status_code, "body": answer.text[:KEPT_ANSWER]}
        good = answer.status_code in arguments.expect_status
        return ActionResult(ok=good, output=output, error="" if good else f"status {answer.status_code}")


HTTP_ACTIONS = (CheckHttp(), SendRequest())
