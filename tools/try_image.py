"""tools/try-image calls it, in the network of the trial: run the site from the image and look whether it holds."""

# ruff: noqa: D103, S310, S603 one script that talks to what it has started itself

import http.cookiejar
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SPACE, LIMITS, ENGINE = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
SERVICES = yaml.safe_load((ROOT / "deploy" / "compose" / "compose.yaml").read_text("utf-8"))["services"]
SITE = "http://127.0.0.1:8000"
PDF = """
from weasyprint import HTML
raw = HTML(string="<h1>Evidence</h1><p>\\u00dcberpr\\u00fcft \\u2713</p>").write_pdf()
assert raw.startswith(b"%PDF-") and len(raw) > 3000, raw[:20]
print(len(raw))
"""
# What the engine itself mounts over or writes into every container's root.
BY_THE_ENGINE = re.compile(
    r"[AC] /(run|var|var/lib|var/lib/assay|tmp|etc|dev|proc|sys)"
    r"(/secrets|/\.containerenv|/mtab|/hosts|/resolv\.conf|/hostname)?"
)
failures: list[str] = []


def say(text: str, *, good: bool) -> None:
    print(f"   {'ok  ' if good else 'FAIL'} {text}", flush=True)
    if not good:
        failures.append(text)


def engine(*arguments: str, check: bool = True) -> str:
    done = subprocess.run([*ENGINE, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def defaulted(text: str) -> str:
    """Return a value of compose.yaml with the defaults of its variables."""
    return re.sub(r"[$][{][A-Z_]+:-([^}]*)[}]", r"\1", text)


class Trial:
    """The containers of compose.yaml's services, on the servers that tools/with-servers has started."""

    def __init__(self, folder: Path) -> None:
        self.secrets, self.state = folder / "secrets", folder / "state"
        for one in (self.secrets, self.state):
            one.mkdir()
        os.chown(self.state, 10001, 10001)
        self.state.chmod(0o700)
        for name, text in {"secret_key": secrets.token_urlsafe(40), "database_url": os.environ["DATABASE_URL"]}.items():
            (self.secrets / name).write_text(text)

    def options(self, service: str, *, loose: bool = False) -> list[str]:
        """Return what compose.yaml says of a service as podman's options; `loose`: with a root that takes writes."""
        said = SERVICES[service]
        options = ["--network", "host", "--user", said["user"], *LIMITS]
        options += [] if loose else ["--read-only", "--read-only-tmpfs=false"]
        options += [f"--cap-drop={one}" for one in said["cap_drop"]]
        options += [f"--security-opt={one.removesuffix(':true')}" for one in said["security_opt"]]
        options += [f"--pids-limit={said['pids_limit']}", f"--memory={said['mem_limit']}"]
        options += [f"--tmpfs={one.replace('mode=', 'rw,mode=')}" for one in said["tmpfs"]]
        options += [f"--volume={self.state}:/var/lib/assay", f"--volume={self.secrets}:/run/secrets:ro"]
        values = {**said["environment"], "BROKER_URL": os.environ["BROKER_URL"]}
        for name, value in values.items():
            options.append(f"--env={name}={defaulted(str(value))}")
        return options

    def start(self, name: str, service: str, *command: str, loose: bool = False) -> None:
        given = [defaulted(one) for one in SERVICES[service].get("command", [])]
        options = self.options(service, loose=loose)
        engine("run", "--detach", "--name", f"{SPACE}-{name}", *options, "assay:try", *(command or given))

    def once(self, *command: str) -> str:
        """Run a command in a container of its own; returns what it said."""
        return engine("run", "--rm", "--name", f"{SPACE}-once", *self.options("migrate"), "assay:try", *command)


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 90) -> None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            say(f"{what}: not within {seconds:.0f} s", good=False)
            return
        time.sleep(0.3)
    say(f"{what} after {time.monotonic() - began:.1f} s", good=True)


def answers(path: str) -> bool:
    try:
        with urllib.request.urlopen(SITE + path, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def sign_in(password: str) -> None:
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    page = browser.open(f"{SITE}/", timeout=20)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
    form = {"csrfmiddlewaretoken": token[1] if token else "", "username": "admin", "password": password}
    filled = urllib.parse.urlencode({**form, "login": "admin"}).encode()
    request = urllib.request.Request(page.url, filled, {"Referer": page.url, "Origin": SITE})
    body = browser.open(request, timeout=20).read().decode()
    say("sign-in over HTTP opens a session", good="sessionid" in {one.name for one in jar})
    for path in ("/settings/system/", "/slos/", "/ledger/", "/compliance/"):
        say(f"{path} answers", good=browser.open(SITE + path, timeout=30).status == 200)
    style = re.search(r'href="(/static/[^"]+\.css)"', body)
    say("its style sheet is served", good=style is not None and browser.open(SITE + style[1]).status == 200)


def look_inside(name: str) -> None:
    status = engine("exec", f"{SPACE}-{name}", "cat", "/proc/1/status")
    held = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    say(f"{name}: process 1 is user 10001", good=held["Uid"].split() == ["10001"] * 4)
    say(f"{name}: no capability", good=all(int(held[one], 16) == 0 for one in ("CapEff", "CapPrm", "CapBnd")))
    say(f"{name}: no new privileges, seccomp", good=held["NoNewPrivs"] == "1" and held["Seccomp"] == "2")
    refused = engine("exec", f"{SPACE}-{name}", "sh", "-c", "touch /opt/assay/x /etc/x /x 2>&1", check=False)
    say(f"{name}: the root takes no write", good=refused.count("Read-only file system") == 3)


def stop(name: str, limit: float) -> None:
    began = time.monotonic()
    engine("stop", "--time", "60", f"{SPACE}-{name}")
    took = time.monotonic() - began
    code = engine("inspect", "--format", "{{.State.ExitCode}}", f"{SPACE}-{name}").strip()
    say(f"{name} ends {took:.1f} s after SIGTERM with code {code}", good=took < limit and code == "0")


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        trial = Trial(folder)
        print("== the database")
        began = time.monotonic()
        said = trial.once(*SERVICES["migrate"]["command"])
        say(f"site upgrade on an empty database, {time.monotonic() - began:.1f} s", good=bool(said.strip()))
        say("a one-off command is user 10001", good=trial.once("id", "-u").strip() == "10001")
        bill = json.loads(trial.once("cat", "/opt/assay/sbom.cdx.json"))
        say(f"the bill of materials names {len(bill['components'])} packages", good=len(bill["components"]) > 100)
        print("== the processes")
        for name in ("web", "worker", "scheduler", "prober"):
            trial.start(name, name)
        wait_for("/healthz answers", lambda: answers("/healthz"))
        wait_for("/readyz answers", lambda: answers("/readyz"))
        check = subprocess.run([*ENGINE, "healthcheck", "run", f"{SPACE}-web"], capture_output=True, check=False)
        say("the image's health check says healthy", good=check.returncode == 0)
        password = secrets.token_urlsafe(16)
        engine(
            "exec",
            f"{SPACE}-web",
            "python",
            "manage.py",
            "account",
            "create-user",
            "admin",
            "--role",
            "admin",
            "--password",
            password,
        )
        sign_in(password)
        asked = ("python", "manage.py", "site", "health", "--format", "json")
        health = json.loads(engine("exec", f"{SPACE}-web", *asked, check=False))
        kinds = {one["kind"] for one in health["processes"]}
        say(
            f"system health has heard of {', '.join(sorted(kinds))}",
            good={"web", "worker", "scheduler", "prober"} <= kinds,
        )
        say("a PDF is rendered", good=bool(engine("exec", f"{SPACE}-worker", "python", "-c", PDF)))
        print("== the rights")
        for name in ("web", "worker", "scheduler", "prober"):
            look_inside(name)
        print("== what is written outside the state folder and /tmp, where the root would take it")
        trial.start("loose", "worker", loose=True)
        time.sleep(20)
        engine("exec", f"{SPACE}-loose", "python", "-c", PDF)
        engine("exec", f"{SPACE}-loose", "python", "manage.py", "site", "check", check=False)
        written = [one for one in engine("diff", f"{SPACE}-loose").splitlines() if not BY_THE_ENGINE.fullmatch(one)]
        say(" ".join(["nothing", *(["but", ", ".join(written[:10])] if written else [])]), good=not written)
        engine("rm", "--force", "--time", "5", f"{SPACE}-loose")
        print("== the end")
        for name in ("prober", "scheduler", "worker", "web"):
            stop(name, 35)
    print(f"== {'all holds' if not failures else f'{len(failures)} things do not hold'}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
