"""The command line, ``webevents``: what people run, and what the workloads run."""

import logging
import sys

import structlog
import typer
from rich.console import Console

from webevents.cli import (
    acls,
    backfill,
    collect,
    erase,
    inspect,
    kibana,
    live,
    query,
    rewind,
    run,
    sources,
    trace,
    workloads,
)
from webevents.errors import UserError

app = typer.Typer(
    name="webevents",
    help="Web events enriched, sessionised and delivered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    acls,
    run,
    sources,
    inspect,
    trace,
    backfill,
    rewind,
    erase,
    query,
    kibana,
    workloads,
    collect,
    live,
):
    module.register(app)


def main() -> None:
    """Run the command line; an error that a person can mend is one message and exit code 2."""
    # What people run speaks for itself; the workloads log everything (see log_as_json).
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(
            f"webevents: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe, such as `head`, has seen enough.
        sys.stderr.close()
        sys.exit(0)
