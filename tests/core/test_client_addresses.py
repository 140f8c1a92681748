"""Behind a trusted proxy the site knows its clients; a foreign host name is answered by a page that helps."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from core.middleware import ClientAddressMiddleware

HAPROXY = Path(__file__).resolve().parents[2] / "deploy" / "haproxy" / "haproxy.cfg"


def seen(forwarded: str) -> str:
    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.META["REMOTE_ADDR"])

    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded} if forwarded else {})
    return ClientAddressMiddleware(answer)(request).content.decode()


def test_only_what_the_trusted_proxy_has_seen_counts(settings: Any) -> None:
    settings.TRUST_PROXY = True
    assert seen("203.0.113.9") == "203.0.113.9"
    assert seen("198.51.100.1, 203.0.113.9") == "203.0.113.9"
    assert seen("2001:db8::1") == "2001:db8::1"
    assert {seen(""), seen("unknown"), seen("203.0.113.9, "), seen("<script>")} == {"127.0.0.1"}
    settings.TRUST_PROXY = False
    assert seen("203.0.113.9") == "127.0.0.1"


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/api/v1/slos/", "application/json")])
def test_a_foreign_host_name_is_told_where_the_site_is(settings: Any, path: str, kind: str) -> None:
    settings.ALLOWED_HOSTS = ["assay.example.org"]
    settings.SECURE_SSL_REDIRECT = False
    answer = Client(headers={"Host": "elsewhere.example.org"}).get(path)
    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (400, kind)
    assert settings.SITE_URL in answer.content.decode()
    assert "req_" in answer.content.decode()


@pytest.mark.django_db
def test_more_than_a_form_may_hold_is_said(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 3
    answer = Client().post("/sign-in/", {f"field-{n}": "x" for n in range(9)})
    assert answer.status_code == 400
    assert "larger than a form may be" in answer.content.decode()


@pytest.mark.integration
def test_haproxy_understands_the_configuration(tmp_path: Path) -> None:
    if shutil.which("haproxy") is None or shutil.which("openssl") is None:
        pytest.skip("needs haproxy and openssl")
    pem = tmp_path / "site.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            pem,
            "-out",
            tmp_path / "c",
        ],
        check=True,
        capture_output=True,
    )
    pem.write_text(pem.read_text() + (tmp_path / "c").read_text())
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.read_text().replace("/etc/haproxy/site.pem", str(pem)))
    done = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr


@pytest.mark.django_db
def test_a_form_without_the_mark_of_the_site_is_told_what_to_do() -> None:
    answer = Client(enforce_csrf_checks=True).post("/sign-in/", {"username": "ada"})
    assert answer.status_code == 403
    assert "load the page anew" in answer.content.decode()
    assert "req_" in answer.content.decode()
