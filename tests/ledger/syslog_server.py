"""A TLS syslog receiver in a process of its own: keeps each message as a line, and dies where it is told to.

Usage: syslog_server.py CERTIFICATE FILE PORT DIE_AFTER. It prints its port and reads frames of octet counting.
"""

import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import BinaryIO


def main(certificate: str, file: str, port: str, die_after: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", int(port)))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    left = int(die_after)
    with Path(file).open("ab", buffering=0) as kept:
        while True:
            plain, _ = listening.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as secured:
                    left = read(secured, kept, left)
                    secured.unwrap()
            except OSError:
                continue


def read(secured: ssl.SSLSocket, kept: BinaryIO, left: int) -> int:
    waiting = b""
    while chunk := secured.recv(1000):
        waiting += chunk
        while b" " in waiting:
            length, _, rest = waiting.partition(b" ")
            if len(rest) < int(length):
                break
            kept.write(rest[: int(length)] + b"\n")
            waiting = rest[int(length) :]
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    return left


main(*sys.argv[1:])
