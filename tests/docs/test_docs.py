"""The documents say what the code does: commands, settings, routes, files and links are compared with it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import tomllib
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from fastapi import FastAPI

from commonweal import cli, console
from commonweal.evals import reference
from commonweal.evals.scenarios.toml import load_scenario
from commonweal.labels.from_toml import read_toml
from commonweal.ledger.export import verify_export
from commonweal.train.config import TrainSettings, load_job

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GENERATED = {"bench/results.md"}
"""Written by `make bench`; a checkout may be without it."""

COMMANDS = [
    "hub",
    "join",
    "train",
    "jobs",
    "models",
    "improve",
    "status",
    "members",
    "credits",
    "keys",
    "demo",
]
COMMANDS += ["eval", "leaderboard", "compare", "release", "refresh", "import-helm", "site"]
COMMANDS += ["import-results", "label"]
MODELS_COMMANDS = ["publish", "retire"]
JOBS_COMMANDS = ["show", "pause", "resume", "cancel", "export"]
ABSENT = "–"

Table = dict[str, list[str]]
"""The rows of a table by the words in backticks of their first cell."""


# Reading the documents.


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """Prose only: neither fenced nor indented blocks, nor code in lines."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.M)
    return re.sub(r"`[^`\n]*`", "", text)


def sections(page: Path) -> dict[str, str]:
    """What stands under each heading, up to the next heading of any depth."""
    found: dict[str, str] = {}
    heading = ""
    for line in re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
            assert heading not in found, f"{page.name}: two headings '{heading}'"
            found[heading] = ""
        elif heading:
            found[heading] += line + "\n"
    return found


def table(section: str, column: str) -> Table:
    """The table of a section whose first column is called ``column``; empty if there is none."""
    rows: Table = {}
    lines = iter(section.splitlines())
    for line in lines:
        if line.startswith(f"| {column} |"):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    break
                cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
                rows[" ".join(re.findall(r"`([^`]+)`", cells[0]))] = cells[1:]
    return rows


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), flags=re.M | re.S)


# Links.


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = (re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in sections(page))
    return set(headings)


def links(page: Path) -> list[str]:
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_code(text_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if target.relative_to(ROOT).as_posix() in GENERATED:
            continue
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: no such heading"


def test_every_document_can_be_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        found = [
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link
        ]
        waiting += [target for target in found if target.suffix == ".md" and target.is_file()]
    assert not set(PAGES) - seen


def test_the_readme_fits_a_narrow_terminal() -> None:
    wide = [line for line in text_of(ROOT / "README.md").splitlines() if len(line) > 80]
    assert not wide


def test_paths_in_the_readme_exist() -> None:
    named = re.findall(r"`((?:src|tests|docs|bench|\.ci)/[^`*]*|Makefile)`", text_of(ROOT / "README.md"))
    assert len(named) >= 15, "the map of the README is gone"
    for path in named:
        assert path in GENERATED or (ROOT / path).exists(), f"README.md: {path} does not exist"


def test_every_package_is_in_the_map_and_in_the_architecture() -> None:
    source = ROOT / "src" / "commonweal"
    packages = [p.name for p in source.iterdir() if (p / "__init__.py").exists() or p.name == "migrations"]
    readme, architecture = text_of(ROOT / "README.md"), sections(DOCS / "architecture.md")
    for package in packages:
        assert f"`src/commonweal/{package}/`" in readme
        assert any(f"`{package}" in heading for heading in architecture), f"architecture.md lacks {package}"


def test_modules_that_documents_name_exist() -> None:
    source = ROOT / "src" / "commonweal"
    for page in PAGES:
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text_of(page)):
            assert (source / name).exists() or (ROOT / name).exists(), f"{page.name}: {name} does not exist"


def test_the_layers_of_the_architecture_are_the_enforced_ones() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    drawn = re.findall(r"^    ([a-z]+(?: \| [a-z]+)*)  ", text_of(DOCS / "architecture.md"), flags=re.M)
    assert drawn == [layer.replace("commonweal.", "") for layer in layers]


# The command line.


def walk(app: typer.Typer) -> Iterator[tuple[str, Any]]:
    root = typer.main.get_command(app)
    for name, command in cast(Any, root).commands.items():
        yield name, command
        for inner, sub in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", sub


def options_of(command: Any) -> dict[str, str]:
    """Every option of a command and its default as the documents write it."""
    found = {}
    for option in command.params:
        if option.param_type_name == "option":
            names = " ".join(sorted(option.opts, key=lambda name: (not name.startswith("--"), name)))
            found[names] = shown_default(option)
    return found


def shown_default(option: Any) -> str:
    if option.required:
        return "required"
    value = option.default
    if isinstance(value, bool) or option.is_flag:
        on = next((name for name in option.secondary_opts), "--no-...")
        return f"on; off with `{on}`" if value else "off"
    if value is None or value == "":
        return ABSENT
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def documented_commands() -> dict[str, str]:
    found: dict[str, str] = {}
    for page in PAGES:
        for heading, section in sections(page).items():
            match = re.fullmatch(r"`commonweal ([a-z -]+)`", heading)
            if match:
                assert match[1] not in found, f"{match[1]} is documented twice"
                found[match[1]] = section
    return found


SHARED = table(sections(ROOT / "README.md").get("Commands", ""), "option")


def test_the_commands_are_few() -> None:
    commands = dict(walk(cli.app))
    assert [name for name in commands if " " not in name] == [
        *(name for name in COMMANDS if name not in ("jobs", "models")),
        "jobs",
        "models",
    ]
    assert [name.split()[1] for name in commands if " " in name] == JOBS_COMMANDS + MODELS_COMMANDS


def test_the_readme_lists_the_commands() -> None:
    listed = table(sections(ROOT / "README.md")["Commands"], "command")
    assert [name.removeprefix("commonweal ") for name in listed] == COMMANDS


def test_every_command_is_documented() -> None:
    assert set(documented_commands()) == {name for name, _ in walk(cli.app)}


@pytest.mark.parametrize(("name", "command"), list(walk(cli.app)), ids=[name for name, _ in walk(cli.app)])
def test_every_command_and_option_has_help(name: str, command: Any) -> None:
    assert command.help, f"commonweal {name} has no help"
    for option in command.params:
        if option.param_type_name == "option":
            assert option.help, f"commonweal {name} {option.opts[0]} has no help"


@pytest.mark.parametrize(("name", "command"), list(walk(cli.app)), ids=[name for name, _ in walk(cli.app)])
def test_the_options_of_a_command_are_documented(name: str, command: Any) -> None:
    actual = options_of(command)
    for option in SHARED:
        if option in actual:
            # A command below another takes over what that one was given.
            assert actual.pop(option) in (SHARED[option][0], ABSENT), f"README.md: default of {option}"
    written = {option: cells[0] for option, cells in table(documented_commands()[name], "option").items()}
    assert written == actual


def test_the_options_of_the_program_are_documented() -> None:
    root = typer.main.get_command(cli.app)
    for option in options_of(root):
        assert f"`{option.split()[0]}`" in text_of(ROOT / "README.md")


def test_the_columns_of_the_live_table_are_explained() -> None:
    explained = table(sections(DOCS / "jobs.md")["`commonweal jobs show`"], "column")
    assert [column for cell in explained for column in cell.split()] == list(console.ROUND_COLUMNS)


# Job files.


def tables_of(into: type[Any], path: str = "") -> Iterator[tuple[str, type[Any]]]:
    """Every dataclass of a job file with the name of its table."""
    yield path, into
    for name, hint in typing.get_type_hints(into).items():
        for kind in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(kind):
                yield from tables_of(cast(type[Any], kind), f"{path}.{name}".lstrip("."))


def written_type(hint: Any) -> str:
    origin, args = typing.get_origin(hint), [a for a in typing.get_args(hint) if a is not type(None)]
    if origin is typing.Literal:
        return ", ".join(f'`"{choice}"`' for choice in args)
    if origin in (typing.Union, types.UnionType):
        return written_type(args[0])
    if origin is tuple:
        return f"array of {written_type(args[0])}s"
    if dataclasses.is_dataclass(hint) or origin is dict:
        return "table"
    names = {str: "string", int: "integer", float: "float", bool: "boolean"}
    return names[hint]


def written_default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if value is None:
        return ABSENT
    if dataclasses.is_dataclass(value):
        return "see there"
    return f"`{json.dumps(value)}`"


def documented_settings() -> dict[str, Table]:
    found: dict[str, Table] = {}
    for heading, section in sections(DOCS / "jobs.md").items():
        rows = table(section, "key")
        for name in re.findall(r"`\[([a-z_.]+)\]`", heading) or ([""] if heading == "top level" else []):
            found[name] = rows
    return found


def test_every_table_of_a_job_file_is_documented() -> None:
    assert set(documented_settings()) == {path for path, _ in tables_of(TrainSettings)}


@pytest.mark.parametrize(
    ("path", "into"), list(tables_of(TrainSettings)), ids=[p or "top" for p, _ in tables_of(TrainSettings)]
)
def test_the_settings_of_a_table_are_documented(path: str, into: type[Any]) -> None:
    hints = typing.get_type_hints(into)
    actual = {f.name: [written_type(hints[f.name]), written_default(f)] for f in dataclasses.fields(into)}
    assert {key: cells[:2] for key, cells in documented_settings()[path].items()} == actual


TOML_BLOCKS = [(page, block) for page in PAGES for block in fenced(page, "toml")]


@pytest.mark.parametrize(
    ("page", "block"), TOML_BLOCKS, ids=[f"{p.stem}-{i}" for i, (p, _) in enumerate(TOML_BLOCKS)]
)
def test_the_files_shown_can_be_read(page: Path, block: str, tmp_path: Path) -> None:
    """Job files, and on their pages scenarios and labels."""
    file = tmp_path / "shown.toml"
    file.write_text(block, encoding="utf-8")
    if page.stem == "evaluation":
        assert load_scenario(file)[0].name
    elif page.stem == "labels":
        assert read_toml(file).model
    else:
        assert load_job(file).name


# The protocol.


@pytest.fixture(scope="module")
def openapi(pool_app: FastAPI) -> dict[str, Any]:
    """The pool's own description of itself."""
    return pool_app.openapi()


def operations(openapi: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    }


def documented_routes() -> dict[str, str]:
    found = sections(DOCS / "protocol.md")
    return {
        m[1]: section for name, section in found.items() if (m := re.fullmatch(r"`([A-Z]+ /[^`]*)`", name))
    }


def references(value: Any) -> set[str]:
    """The bodies that a piece of OpenAPI refers to."""
    if isinstance(value, dict):
        found = {value["$ref"].rsplit("/", 1)[1]} if "$ref" in value else set()
        return found.union(*(references(item) for item in value.values()))
    return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()


def line_of(section: str, label: str) -> str:
    """The item of that label, which may go on in indented lines."""
    return "".join(re.findall(rf"^- {label}: (.*(?:\n  .*)*)", section, flags=re.M))


def test_every_route_is_documented(openapi: dict[str, Any]) -> None:
    assert set(documented_routes()) == set(operations(openapi))


def test_the_bodies_and_parameters_of_routes_are_documented(openapi: dict[str, Any]) -> None:
    for route, operation in operations(openapi).items():
        section = documented_routes()[route]
        sent = references(operation.get("requestBody", {}))
        inline = {name for name in sent if name.startswith("Body_")}
        fields = {f for name in inline for f in openapi["components"]["schemas"][name]["properties"]}
        body = line_of(section, "body")
        assert set(re.findall(r"\]\(#(\w+)\)", body)) == {n.lower() for n in sent - inline}, route
        assert fields <= set(re.findall(r"`(\w+)`", body)), route
        for parameter in operation.get("parameters", []):
            if parameter["in"] in ("query", "header") and parameter["name"] != "authorization":
                assert f"`{parameter['name']}`" in section, f"{route}: {parameter['name']}"


def test_the_answers_of_routes_are_documented(openapi: dict[str, Any]) -> None:
    everywhere = set(openapi["paths"]["/pool/v1/hello"]["get"]["responses"]) - {"200"}
    for route, operation in operations(openapi).items():
        section = documented_routes()[route]
        answers = {s: r for s, r in operation["responses"].items() if s not in everywhere}
        good = {status for status in answers if int(status) < 400}
        told = line_of(section, "answers")
        assert set(re.findall(r"\b[1-5]\d\d\b", told)) == good, route
        promised = set().union(*(references(answers[status]) for status in good)) - {"ErrorBody"}
        assert set(re.findall(r"\]\(#(\w+)\)", told)) == {name.lower() for name in promised}, route
        errors = dict(re.findall(r"(\d\d\d)\s+`(\w+)`", line_of(section, "errors")))
        expected = {s: r["description"].split(", ") for s, r in answers.items() if s not in good}
        assert set(errors) - everywhere == set(expected), route
        assert all(errors[status] in codes for status, codes in expected.items()), route


def test_every_body_and_field_is_documented(openapi: dict[str, Any]) -> None:
    written = {
        heading: list(rows)
        for heading, section in sections(DOCS / "protocol.md").items()
        if (rows := table(section, "field"))
    }
    schemas = openapi["components"]["schemas"]
    actual = {n: list(s["properties"]) for n, s in schemas.items() if not n.startswith("Body_")}
    assert written == {name: actual[name] for name in written if name in actual}
    assert set(written) == set(actual)


# The books.


def shown_export() -> list[str]:
    return fenced(DOCS / "ledger.md", "jsonl")[0].splitlines()


def test_the_export_shown_is_a_true_one() -> None:
    check = verify_export(shown_export())
    assert check.ok, check.problems


def test_the_check_shown_needs_nothing_of_ours_and_finds_a_change() -> None:
    script = fenced(DOCS / "ledger.md", "python")[0]
    assert "commonweal" not in "".join(re.findall(r"^(?:import|from) .*", script, flags=re.M))
    space: dict[str, Any] = {}
    exec(script, space)
    check = cast(Callable[[list[str]], dict[str, int]], space["check"])
    balances = check(shown_export())
    assert sum(balances.values()) == 0
    with pytest.raises(AssertionError):
        check([line.replace('"microcredits":2048', '"microcredits":2049') for line in shown_export()])


def test_constants_that_the_method_cites_have_these_values() -> None:
    cited = table(sections(DOCS / "training.md")["Numbers that are not settings"], "constant")
    assert len(cited) >= 5
    for path, (value, _) in cited.items():
        module, _, name = path.rpartition(".")
        assert float(value) == getattr(importlib.import_module(f"commonweal.{module}"), name), path


# The rest.


def test_the_decisions_have_one_form() -> None:
    decisions = sorted((DOCS / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    for page in decisions:
        headings = list(sections(page))
        assert re.match(r"\d+\. ", headings[0]), page.name
        assert headings[1:] == ["Context", "Decision", "Consequences"], page.name
        assert len(text_of(page).splitlines()) <= 70, f"{page.name}: a decision is a page"


def test_the_pages_of_scenarios_and_metrics_are_what_the_registries_say() -> None:
    """`make docs` writes them."""
    assert text_of(DOCS / "scenarios.md") == reference.scenarios_page()
    assert text_of(DOCS / "metrics.md") == reference.metrics_page()


def test_the_changelog_knows_this_version() -> None:
    version = importlib.import_module("commonweal").__version__
    assert f"## {version}" in text_of(ROOT / "CHANGELOG.md")


def test_the_licence_is_apaches() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_make_targets_that_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), flags=re.M))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z-]+)`", text_of(page)):
            assert target in targets or target.startswith("bench-"), f"{page.name}: make {target}"
