"""A label as a model card of the Hugging Face Hub: ``README.md`` with metadata in front and the label below. Pure.

The metadata is YAML whose scalars are written as JSON, which YAML is a superset of, so no text can break out of its
place. What is not disclosed is left out of the metadata, but for the licence: 'unknown' is a word of the Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from commonweal.labels.facts import Evaluation, Fact, Label, Record
from commonweal.labels.questions import BY_KEY, QUESTIONS, SECTIONS
from commonweal.labels.score import Part, score

# fmt: off
_LICENCES = frozenset((
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc", "cc0-1.0", "cc-by-4.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "cc-by-3.0",
    "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "openrail",
    "bigscience-openrail-m", "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "creativeml-openrail-m",
    "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma", "unlicense", "wtfpl", "odbl",
    "odc-by", "pddl", "isc", "zlib", "artistic-2.0", "other",
))
# fmt: on
"""Words of the Hub for a model's licence."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
_LANGUAGE_MODEL = "text-generation"
_SPECIAL = re.compile(r"([\\`*_\[\]|#~])")


def card(label: Label) -> str:
    """The text of ``README.md``."""
    lines = ["---", *_yaml(metadata(label)), "---", "", f"# {_plain(label.model)}", ""]
    return "\n".join([*lines, *_body(label)]) + "\n"


def metadata(label: Label) -> dict[str, Any]:
    """The fields of the card that the Hub knows."""
    made: dict[str, Any] = _licence(label.fact("model.licence"))
    if label.base is not None and _REPOSITORY.fullmatch(label.base.name):
        made["base_model"] = label.base.name
    if datasets := _datasets(label.fact("data.sources")):
        made["datasets"] = datasets
    if label.fact("model.output").text in ("", "text"):
        made["pipeline_tag"] = _LANGUAGE_MODEL
    if label.source in ("hub", "folder"):
        made["library_name"] = "transformers"
    made["tags"] = ["commonweal", "label"]
    if results := [_result(one) for one in label.evaluations if one.main.mean is not None]:
        made["model-index"] = [{"name": label.model, "results": results}]
    return made


def _licence(fact: Fact) -> dict[str, Any]:
    if fact.status != "disclosed":
        return {"license": "unknown"}
    word = fact.text.strip().lower()
    if word in _LICENCES:
        return {"license": word}
    name = re.sub(r"[^a-z0-9.-]+", "-", word).strip("-")[:60] or "other"
    return {"license": "other", "license_name": name}


def _datasets(fact: Fact) -> list[str]:
    if not isinstance(fact.value, list):
        return []
    named = [
        one.get("location") for one in fact.value if isinstance(one, dict) and one.get("kind") == "dataset"
    ]
    return [name for name in named if isinstance(name, str) and _REPOSITORY.fullmatch(name)]


def _result(one: Evaluation) -> dict[str, Any]:
    main = one.main
    between = "" if main.low is None or main.high is None else f", 95% {main.low:.3g} to {main.high:.3g}"
    return {
        "task": {"type": _LANGUAGE_MODEL},
        "dataset": {"type": one.scenario, "name": one.run},
        "metrics": [
            {"type": one.metric, "value": main.mean, "name": f"{one.metric} (n = {main.n:,}{between})"}
        ],
    }


def _yaml(value: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A mapping in block style, its scalars as JSON."""
    for key, one in value.items():
        if isinstance(one, list) and one and isinstance(one[0], dict):
            yield f"{indent}{key}:"
            for item in one:
                first, *rest = _yaml(item, indent + "  ")
                yield f"{indent}- {first[len(indent) + 2 :]}"
                yield from rest
        elif isinstance(one, list):
            yield f"{indent}{key}:"
            yield from (f"{indent}- {_scalar(item)}" for item in one)
        elif isinstance(one, dict):
            yield f"{indent}{key}:"
            yield from _yaml(one, indent + "  ")
        else:
            yield f"{indent}{key}: {_scalar(one)}"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    plain = isinstance(value, str) and re.fullmatch(r"[a-z][a-z-]*[0-9.]*", value)
    return (
        value
        if plain and value not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        else text
    )


def _body(label: Label) -> Iterator[str]:
    counted = score(label)
    whole = counted.whole
    yield (
        f"Label of this model: **{len(whole.told)} of {whole.asked}** indicators of the Foundation Model "
        f"Transparency Index are disclosed; of {len(QUESTIONS)} facts {counted.facts_untold} are not."
    )
    if label.base is not None:
        yield f"\nMade from {_plain(label.base.name)}: what that has in it is in this model too."
    facts = label.by_key()
    for section, title in SECTIONS.items():
        yield f"\n## {title}\n"
        yield "| | | record |\n|---|---|---|"
        yield from (_row(facts[q.key]) for q in QUESTIONS if q.section == section)
        if section == "evaluation":
            yield from _evaluations(label)
    yield "\n## Transparency\n"
    yield "| domain | disclosed | asked | not disclosed |\n|---|---|---|---|"
    yield from (_domain(part) for part in counted.parts.values())


def _row(fact: Fact) -> str:
    records = ", ".join(_named(record) for record in fact.records[:3])
    return f"| {BY_KEY[fact.key].name} | {_plain(answer(fact))} | {_plain(records)} |"


def word_of(fact: Fact) -> str:
    """What stands in place of an answer, "" for one that is told."""
    if fact.status == "not_disclosed":
        return "not measured" if fact.key.startswith("evaluation.") else "not disclosed"
    return "does not apply" if fact.status == "not_applicable" else ""


def answer(fact: Fact) -> str:
    """The answer in words, with how it is known and what it lacks.

    >>> answer(Fact(key="data.size"))
    'not disclosed'
    """
    parts = [part for part in (word_of(fact), fact.text) if part]
    text = ": ".join(parts)
    text += f" ({fact.method})" if fact.method else ""
    lacks = "not told: " if fact.status == "disclosed" else ""
    return text + (f" [{lacks}{fact.missing}]" if fact.missing else "")


def _named(record: Record) -> str:
    return f"{record.kind} {record.id}" + (f" {record.hash[:12]}" if record.hash else "")


def _evaluations(label: Label) -> Iterator[str]:
    if label.evaluations:
        yield "\n| run | metric | value | 95% interval | n |\n|---|---|---|---|---|"
    for one in label.evaluations:
        main = one.main
        value = "not measured" if main.mean is None else f"{main.mean:.3f}"
        between = "" if main.low is None or main.high is None else f"{main.low:.3f} to {main.high:.3f}"
        yield f"| {_plain(one.run)} | {_plain(one.metric)} | {value} | {between} | {main.n:,} |"
    if label.evaluated:
        yield f"\nScenarios that were not run ({len(label.not_run)}): {', '.join(label.not_run) or 'none'}."
    else:
        yield "\nNo runs were looked for."


def _domain(part: Part) -> str:
    return f"| {part.domain} | {len(part.told)} | {part.asked} | {', '.join(part.untold)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    >>> _plain("a|b\\n<i>_x_")
    'a\\\\|b &lt;i&gt;\\\\_x\\\\_'
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)
