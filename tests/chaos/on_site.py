"""`python -m tests.chaos.on_site CASE …`: things that must happen in a process of a site's own.

`toolkit CASE` runs the plain Chaos Toolkit in CASE_FOLDER; `serve` is a site that does what it is told, and
runs Assay's runner with something broken in it.
"""

import json
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from chaoslib.experiment import run_experiment
from chaoslib.types import Strategy

FOLDER = Path(os.environ.get("CASE_FOLDER", "/nonexistent"))


# --- what the plain toolkit is given


def fault(name: str = "fault") -> str:
    (FOLDER / name).touch()
    return "injected"


def fault_and_signal(number: int) -> str:
    fault()
    os.kill(os.getpid(), number)
    time.sleep(0.5)
    return "went on"


def undo(name: str = "fault") -> str:
    (FOLDER / name).unlink(missing_ok=True)
    return "undone"


def undo_and_signal(number: int) -> str:
    os.kill(os.getpid(), number)
    time.sleep(0.3)
    return undo("second")


def unreachable() -> bool:
    if (FOLDER / "fault").exists():
        raise ConnectionError("the service is down")
    return True


def nothing() -> object:
    return None if (FOLDER / "fault").exists() else 3


def broken() -> None:
    raise RuntimeError("no access")


def slow(seconds: float) -> str:
    time.sleep(seconds)
    return "late"


def plain(case: str) -> None:
    def call(kind: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {"type": "python", "module": "tests.chaos.on_site", "func": function, "arguments": arguments}
        return {"type": kind, "name": f"{function}{arguments}", "provider": provider}

    probe: dict[str, Any] = {**call("probe", "slow", seconds=0), "tolerance": "late"}
    method, rollbacks = [call("action", "fault")], [call("action", "undo")]
    strategy, always = "default", case.endswith("-always")
    match case.removesuffix("-always"):
        case "probe-raises":
            probe = {**call("probe", "unreachable"), "tolerance": True}
        case "tolerance-raises":
            probe = {**call("probe", "nothing"), "tolerance": {"type": "range", "range": [1, 5]}}
        case "sigterm":
            method = [call("action", "fault_and_signal", number=int(signal.SIGTERM)), call("action", "fault", name="2")]
        case "sigusr2":
            method = [call("action", "fault_and_signal", number=int(signal.SIGUSR2))]
        case "second-signal":
            method = [call("action", "fault"), call("action", "fault", name="second")]
            rollbacks = [call("action", "undo_and_signal", number=int(signal.SIGUSR1)), call("action", "undo")]
        case "action-fails":
            method = [call("action", "broken")]
        case "rollback-fails":
            rollbacks = [call("action", "broken")]
        case "timeout":
            method = [{**call("action", "slow", seconds=1.5)}]
            method[0]["provider"]["timeout"] = 0.2
    experiment = {
        "version": "1.0.0",
        "title": case,
        "description": case,
        "steady-state-hypothesis": {"title": "it answers", "probes": [probe]},
        "method": method,
        "rollbacks": rollbacks,
    }
    started = time.monotonic()
    settings = {"runtime": {"rollbacks": {"strategy": "always" if always else strategy}}}
    journal = run_experiment(experiment, settings=settings, strategy=Strategy.DEFAULT)
    sys.stdout.write(f"{journal['status']} {journal['deviated']} {time.monotonic() - started:.1f}\n")


# --- Assay's runner


def runner(case: str, reference: str) -> None:
    BREAKS.get(case, lambda *_: None)(modules["engine"], modules["faults"])
    modules["engine"].run_to_the_end(reference)


# --- a site that does what it is told, line by line, so that a test need not start a process for each command


modules: dict[str, Any] = {}


def serve() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    # They need Django, which is ready only now.
    from django.db import close_old_connections

    from chaos import engine, selectors, services
    from chaos.services import faults
    from tests.chaos import on_site_commands

    modules.update(engine=engine, faults=faults, selectors=selectors, services=services)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    commands = on_site_commands.COMMANDS
    for line in sys.stdin:
        asked = json.loads(line)
        close_old_connections()
        try:
            answer = fork(**asked["with"]) if asked["do"] == "case" else commands[asked["do"]](**asked["with"])
            sys.stdout.write(json.dumps({"value": answer}, default=str) + "\n")
        except Exception as error:  # noqa: BLE001 what went wrong is the answer
            sys.stdout.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        sys.stdout.flush()


def fork(case: str, reference: str) -> int:
    """Run a runner in a process of its own session; returns its process id."""
    from django.db import connections

    connections.close_all()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1):
            os.dup2(nowhere, number)
        runner(case, reference)
        code = 0
    finally:
        os._exit(code)


def signals(*numbers: int) -> Any:
    """Break: the runner is signalled a moment after its first fault."""

    def broken_by(engine: Any, _faults: Any) -> None:
        real = engine.inject_fault

        def injected(**arguments: Any) -> str:
            done = real(**arguments)
            for number in numbers:
                threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
            return str(done)

        engine.inject_fault = injected

    return broken_by


def tolerance_raises(engine: Any, _faults: Any) -> None:
    real = engine.unsteady_because

    def raising(run: Any) -> str:
        if run.faults.exists():
            raise TypeError("'>=' not supported between instances of 'NoneType' and 'int'")
        return str(real(run))

    engine.unsteady_because = raising


def probe_hangs(engine: Any, _faults: Any) -> None:
    real = engine.unsteady_because

    def hanging(run: Any) -> str:
        if run.faults.exists() and run.state == "running":
            time.sleep(300)
        return str(real(run))

    engine.unsteady_because = hanging


def signalled_while_undoing(engine: Any, faults: Any) -> None:
    signals(signal.SIGUSR1)(engine, faults)
    real = faults.undo_action

    def undone(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        return real(*arguments)

    faults.undo_action = undone


def injecting_fails(_engine: Any, faults: Any) -> None:
    faults.inject_action = lambda *_, **__: no_access()


def undoing_fails(_engine: Any, faults: Any) -> None:
    faults.undo_action = lambda *_: no_access()


def no_access() -> Any:
    from drivers.data import ActionResult

    return ActionResult(ok=False, error="no access")


def soon_mute(engine: Any, _faults: Any) -> None:
    engine.MUTE_SECONDS = 5.0


def hosts_are_asked_shortly(engine: Any, _faults: Any) -> None:
    """Break: once the fault is there, a host that does not answer is waited for no longer than two seconds."""
    from drivers.services import agents

    real = engine.inject_fault

    def injected(**arguments: Any) -> str:
        done = str(real(**arguments))
        agents.ANSWER_WITHIN = timedelta(seconds=2)
        return done

    engine.inject_fault = injected


BREAKS: dict[str, Any] = {
    "soon-mute": soon_mute,
    "hosts-are-asked-shortly": hosts_are_asked_shortly,
    "probe-raises": tolerance_raises,
    "tolerance-raises": tolerance_raises,
    "sigterm": signals(signal.SIGTERM),
    "sigusr1": signals(signal.SIGUSR1),
    "sigusr2": signals(signal.SIGUSR2),
    "second-signal": signalled_while_undoing,
    "hangs": probe_hangs,
    "action-fails": injecting_fails,
    "rollback-fails": undoing_fails,
}


if __name__ == "__main__":
    if sys.argv[1] == "toolkit":
        plain(sys.argv[2])
    else:
        serve()
