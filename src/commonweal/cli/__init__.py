"""The command line: parses, wires, shows. The environment is read here and nowhere else.

Exit codes: 0 done; 1 the work failed; 2 the request is wrong; 3 refused; 4 something is away; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback

import typer

from commonweal import console
from commonweal.cli import evaluation, jobs, labels, models, pool, site
from commonweal.cli.program import app
from commonweal.core.errors import CommonwealError, UserError

__all__ = ["app", "main"]

app.add_typer(pool.commands)
app.add_typer(evaluation.commands)
app.add_typer(site.commands)
app.add_typer(labels.commands)
app.add_typer(jobs.commands, name="jobs")
app.add_typer(models.commands, name="models")


def main() -> None:
    """The entry point: errors become a message and an exit code, never a traceback."""
    try:
        code = app(prog_name="commonweal", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)  # typer makes 130 of ctrl-c, and returns it
    except typer.Exit as error:
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except CommonwealError as error:
        console.print_error(error)
        sys.exit(error.exit_code)
    except console.ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        sys.exit(_unexpected(error))


def _unexpected(error: Exception) -> int:
    """What nothing below has words for: a command line that cannot be read, a file that cannot be used, a bug."""
    if error.__class__.__module__.startswith(("click", "typer")):
        error.show()  # type: ignore[attr-defined]
        return 2
    if logging.getLogger().isEnabledFor(logging.INFO):
        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is not None:
        console.print_error(UserError(f"{error.filename}: {error.strerror}"))
        return 2
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "this should not happen; commonweal -v COMMAND shows where it did"
    console.print_error(CommonwealError(f"unexpected {told[:300]}", hint=hint))
    return 1
