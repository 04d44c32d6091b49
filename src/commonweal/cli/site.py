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
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Go on without runs that cannot be read; the site says which."),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Write the evaluation site: from the leaderboard to the exact prompt, for any web host."""
    from commonweal.commands.site import export_site

    export_site(
        runs or [Path("runs")],
        out,
        releases,
        labels,
        compare or [],
        skip_damaged=skip_damaged,
        as_json=json_,
    )
