"""Mail through a real SMTP conversation on the loopback interface: accepted, refused for now, refused for good."""

import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from django.test import override_settings

from core.work import drain
from delivery.channels import message_id_for
from delivery.data import Channel, DeliveryState
from delivery.models import Delivery
from delivery.services import send
from delivery.services.outbox import ORDINARY_QUEUE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration]


@dataclass
class Server:
    """A mail server that answers RCPT as it is told."""

    port: int = 0
    answer: str = "250 ok"
    messages: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    known = Server()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline().decode():
                verb = line.split(" ")[0].strip().upper()
                if verb == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    known.messages.append("".join(lines))
                    self.say("250 kept")
                elif verb == "RCPT":
                    self.say(known.answer)
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    listening = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation)
    listening.daemon_threads = True
    known.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join(5)


def deliver(url: str) -> Delivery:
    send(
        channel=Channel.EMAIL,
        address="alice@example.org",
        idempotency_key="k",
        subject="Fire",
        text="Grüße",
        link="http://x/",
    )
    with override_settings(EMAIL_URL=url):
        drain(ORDINARY_QUEUE)
    return Delivery.objects.get()


def test_mail_is_handed_to_the_server_with_its_identity(server: Server) -> None:
    assert deliver(f"smtp://127.0.0.1:{server.port}").state == DeliveryState.SENT
    (message,) = server.messages
    assert f"Message-ID: {message_id_for('k')}" in message
    assert "Auto-Submitted: auto-generated" in message


def test_a_refusal_for_good_is_not_tried_again(server: Server) -> None:
    server.answer = "550 no such person"
    row = deliver(f"smtp://127.0.0.1:{server.port}")
    assert row.state == DeliveryState.DEAD
    assert "no such person" in row.last_error


def test_a_refusal_for_now_is_tried_again(server: Server) -> None:
    server.answer = "451 greylisted"
    row = deliver(f"smtp://127.0.0.1:{server.port}")
    assert (row.state, row.tries) == (DeliveryState.PENDING, 1)


def test_a_server_that_is_away_is_tried_again(server: Server) -> None:
    row = deliver("smtp://127.0.0.1:1")
    assert (row.state, row.tries) == (DeliveryState.PENDING, 1)
    assert "refused" in row.last_error
