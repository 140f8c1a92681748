"""Every room's command keeps the exit codes that scripts rely on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from typer.main import get_command

from core.cli import ExitCode, RoomCommand

OURS = {config.name for config in apps.get_app_configs() if (Path(config.path).parent / "manage.py").exists()}
ROOMS = {name: str(app) for name, app in get_commands().items() if app in OURS}

# They run until they are told to stop, and print as they go.
PROCESSES = {"scheduler", "prober", "serve", "chaos_runner", "demo serve"}


def subcommands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts = getattr(command, "commands", None)
    if not parts:
        yield path, command
    for name, part in (parts or {}).items():
        yield from subcommands(part, f"{path} {name}")


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_every_command_prints_json_for_scripts(name: str) -> None:
    room = load_command_class(ROOMS[name], name)
    assert isinstance(room, RoomCommand)
    without = [
        path
        for path, command in subcommands(get_command(room.typer_app), name)
        if path not in PROCESSES and not any("--format" in one.opts for one in command.params)
    ]
    assert not without


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_a_room_command_is_built_on_the_shared_one(name: str) -> None:
    assert isinstance(load_command_class(ROOMS[name], name), RoomCommand)


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_wrong_use_exits_two_and_says_where_help_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load_command_class(ROOMS[name], name)
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", name, "--no-such-option"])
    assert ended.value.code == ExitCode.WRONG_USE
    said = capsys.readouterr()
    assert "--no-such-option" in said.err
    assert f"manage.py {name} --help" in said.err
    assert not said.out


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_help_teaches_and_exits_zero(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = load_command_class(ROOMS[name], name)
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", name, "--help"])
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "Usage" in said
    assert command.help in said
