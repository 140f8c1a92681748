"""`assay-agent.pyz run --config FILE`: the agent of a host."""

import argparse
import logging
import sys
from pathlib import Path

from drivers.agent.journal import Journal, watch
from drivers.agent.polling import Agent, read_configuration

DEFAULT_CONFIGURATION = Path("/etc/assay-agent.json")


def main() -> int:
    """Run, show, or clean up."""
    parser = argparse.ArgumentParser(prog="assay-agent", description="Carries out what an Assay site orders.")
    parser.add_argument("command", choices=["run", "faults", "undo-all", "watchdog"])
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIGURATION)
    given = parser.parse_args()
    if given.command == "watchdog":
        watch(Path(given.more[0]), given.more[1])
        return 0
    try:
        configuration = read_configuration(given.config)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.command == "run":
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        Agent(configuration).run()
    journal = Journal(configuration.state)
    left = list(journal.faults())
    if given.command == "undo-all":
        left = [(path, entry) for path, entry in left if not journal.undo(path, entry, "asked for on the host")]
    for path, entry in left:
        sys.stdout.write(f"{path.stem}  {entry['action']}  {entry['arguments']}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
