import pytest

from delivery.domain.standard_webhooks import SignatureRefusedError, new_secret, sign, signature_header, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def check(secrets: list[str], *, signatures: str, body: bytes = BODY, now: float = TIMESTAMP) -> None:
    verify(secrets, message_id=MESSAGE_ID, timestamp=str(TIMESTAMP), signatures=signatures, body=body, now=now)


def test_it_gives_the_signature_of_the_published_vector() -> None:
    assert sign(SECRET, message_id=MESSAGE_ID, timestamp=TIMESTAMP, body=BODY) == SIGNATURE


def test_it_accepts_the_published_vector_among_other_signatures() -> None:
    check([SECRET], signatures=f"v1,AAAA nonsense v1a,BBBB {SIGNATURE}")


def test_both_live_secrets_verify_during_a_rotation() -> None:
    other = new_secret()
    header = signature_header([other, SECRET], message_id=MESSAGE_ID, timestamp=TIMESTAMP, body=BODY)
    check([other], signatures=header)
    check([SECRET], signatures=header)


@pytest.mark.parametrize(
    ("signatures", "body", "now", "says"),
    [
        (SIGNATURE, b'{"test": 2432232315}', TIMESTAMP, "no signature fits"),
        (SIGNATURE, BODY, TIMESTAMP + 301, "too far"),
        (SIGNATURE, BODY, TIMESTAMP - 301, "too far"),
        ("", BODY, TIMESTAMP, "required"),
        ("v1", BODY, TIMESTAMP, "no signature fits"),
        ("v1,é", BODY, TIMESTAMP, "no signature fits"),
    ],
)
def test_it_refuses_what_does_not_fit(signatures: str, body: bytes, now: float, says: str) -> None:
    with pytest.raises(SignatureRefusedError, match=says):
        check([SECRET], signatures=signatures, body=body, now=now)


@pytest.mark.parametrize("timestamp", ["", "-5", "1e9", "²", "9" * 40])
def test_a_timestamp_that_is_no_count_of_seconds_is_refused(timestamp: str) -> None:
    with pytest.raises(SignatureRefusedError):
        verify([SECRET], message_id="m", timestamp=timestamp, signatures=SIGNATURE, body=BODY, now=TIMESTAMP)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_AAAA", "whsec_!!!", "whsec_" + "A" * 200])
def test_a_secret_of_the_wrong_form_is_refused(secret: str) -> None:
    with pytest.raises(SignatureRefusedError):
        sign(secret, message_id="m", timestamp=1, body=b"")
