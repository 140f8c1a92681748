"""What people write in an incident's box: a note, or a command that begins with a slash."""

import re
from collections.abc import Callable

from accounts.data import Principal
from accounts.selectors import user_by_username
from core.parsing import refuse
from incidents.data import IncidentRole, Severity
from incidents.models import Incident
from incidents.services.coordination import add_task
from incidents.services.lifecycle import (
    acknowledge_incident,
    assign_role,
    change_severity,
    mitigate_incident,
    resolve_incident,
)
from incidents.services.targets import pause_clocks, resume_clocks
from incidents.services.timeline import write_note

HELP = {
    "/ack": "take it on",
    "/mitigated": "the impact has ended",
    "/resolve [WHY]": "it is over",
    "/sev1 … /sev4 WHY": "decide the severity",
    "/commander USER, /scribe USER, /communications USER": "give a role",
    "/task WHAT [@USER]": "something to do",
    "/pause REASON, /resume": "the clocks",
}


def take_words(*, principal: Principal, incident: Incident, text: str, link: str = "") -> str:
    """Do what a text asks for and return what was done; a text without a slash is a note. Raises InputRefusedError."""
    text = text.strip()
    if not text.startswith("/") or text.startswith("//"):
        write_note(principal=principal, incident=incident, text=text.removeprefix("/"), link=link)
        return "Written to the timeline."
    name, _, rest = text[1:].partition(" ")
    rest = rest.strip()
    done = _COMMANDS.get(name.lower())
    if done is None:
        raise refuse("command", found=f"/{name}"[:40], allowed=f"{'; '.join(HELP)} are known; // begins a note with /")
    return done(principal, incident, name.lower(), rest)


def _ack(principal: Principal, incident: Incident, _: str, __: str) -> str:
    acknowledge_incident(principal=principal, incident=incident, via="command in the room")
    return "You have it."


def _mitigated(principal: Principal, incident: Incident, _: str, __: str) -> str:
    mitigate_incident(principal=principal, incident=incident)
    return "The impact has ended."


def _resolve(principal: Principal, incident: Incident, _: str, rest: str) -> str:
    resolve_incident(principal=principal, incident=incident, reason=rest)
    return "It is resolved."


def _severity(principal: Principal, incident: Incident, name: str, rest: str) -> str:
    if not rest:
        raise refuse("severity", found=f"/{name}", allowed=f"say why: /{name} half of the requests fail")
    change_severity(principal=principal, incident=incident, severity=Severity(name), reason=rest)
    return f"It is {name.upper()} now."


def _role(principal: Principal, incident: Incident, name: str, rest: str) -> str:
    user = user_by_username(username=rest.removeprefix("@"))
    if user is None:
        raise refuse("user", found=rest or "nobody", allowed="a user name is allowed")
    assign_role(principal=principal, incident=incident, role=IncidentRole(name), user_id=user.pk, user_label=str(user))
    return f"{user} is {name}."


def _task(principal: Principal, incident: Incident, _: str, rest: str) -> str:
    named = re.search(r"(?:^|\s)@([\w.@+-]+)\s*$", rest)
    owner = user_by_username(username=named[1]) if named else None
    if named and owner is None:
        raise refuse("user", found=named[1], allowed="a user name is allowed")
    title = rest[: named.start()] if named else rest
    task = add_task(principal=principal, incident=incident, title=title, owner_id=owner.pk if owner else None)
    return f"Task: {task.title}"


def _pause(principal: Principal, incident: Incident, _: str, rest: str) -> str:
    reason, _, note = rest.partition(" ")
    pause_clocks(principal=principal, incident=incident, reason=reason, note=note)
    return "The clocks stand still."


def _resume(principal: Principal, incident: Incident, _: str, __: str) -> str:
    resume_clocks(principal=principal, incident=incident)
    return "The clocks run."


_COMMANDS: dict[str, Callable[[Principal, Incident, str, str], str]] = {
    "ack": _ack,
    "mitigated": _mitigated,
    "resolve": _resolve,
    **{one.value: _severity for one in Severity},
    "commander": _role,
    "scribe": _role,
    "communications": _role,
    "task": _task,
    "pause": _pause,
    "resume": _resume,
}
