"""`manage.py work`: do what is due, by hand."""

from typing import Annotated

import typer

from core.cli import FormatOption, OutputFormat, RoomCommand, answering, fail, print_json
from core.periodic import ensure_jobs
from core.work import dead_counts, drain, drain_all, oldest_overdue, queue_names


class Command(RoomCommand):
    help = "Do what is due now and print how much was done; with --status, only look."

    @answering
    def handle(
        self,
        queue: Annotated[list[str] | None, typer.Option(help="Only this queue; may be repeated.")] = None,
        status: Annotated[bool, typer.Option("--status", help="Print how late each queue is; do nothing.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        names = queue or list(queue_names())
        if unknown := set(names) - set(queue_names()):
            fail(f"No such queue: {', '.join(sorted(unknown))}. Queues: {', '.join(queue_names())}.")
        ensure_jobs()
        if status:
            overdue, dead = oldest_overdue(), dead_counts()
            answer: dict[str, object] = {
                name: {
                    "oldest_overdue_seconds": overdue[name].total_seconds() if name in overdue else 0,
                    "dead": dead.get(name, 0),
                }
                for name in names
            }
        else:
            answer = {name: drain(name) for name in names} if queue else {"all": drain_all()}
        if output is OutputFormat.JSON:
            print_json(answer)
        else:
            for name, value in answer.items():
                typer.echo(f"{name}: {value}")
