"""``commonweal site``: results as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commonweal.cli.program import JsonOption

commands = typer.Typer()


@commands.command()
def site(
    runs: Annotated[
        list[Path] | None, typer.Option(help="A folder with runs, searched through; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to write, in place of an earlier site.")] = Path(
        "public"
    ),
    releases: Annotated[
        Path | None, typer.Option(help="The folder of releases, to tell what changed between them.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A folder with labels of models: JSON, TOML, or models' folders.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="Two models to have a page that compares them; may be repeated."),
    ] = None,
    reported: Annotated[
        Path | None,
        typer.Option(help="A folder with results of others, made by import-results; runs are not needed."),
    ] = None,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Go on without runs that cannot be read; the site says which."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Write the evaluation site: from the leaderboard to the exact prompt, for any web host."""
    from commonweal.commands.site import export_site

    found = Path("runs")
    export_site(
        runs or ([found] if reported is None or found.is_dir() else []),
        out,
        releases,
        labels,
        compare or [],
        reported,
        skip_damaged=skip_damaged,
        as_json=json_,
    )


@commands.command("import-results")
def import_results(
    files: Annotated[
        list[Path], typer.Argument(help="Records of Every Eval Ever: JSON lines, or JSON with one record.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to put the boards in.")] = Path("reported"),
    licence: Annotated[
        str, typer.Option(help="Under which licence they were published, where records do not say.")
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Keep results that others published, to be shown as theirs beside what was measured here."""
    from commonweal.commands import reporting

    reporting.import_results(files, out, licence, as_json=json_)
