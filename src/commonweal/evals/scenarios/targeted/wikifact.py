"""WikiFact: completing a fact of Wikidata (Liang et al. 2022, after Petroni et al. 2019, LAMA).

The relation is HELM's argument ``subject``; k samples are drawn, of which one must be right. HELM's leaderboard has
k = 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import completion
from commonweal.evals.scenarios.reading import mirror, rows_if_any, texts

RELATIONS = {
    "genre": "P136",
    "instrument": "P1303",
    "author": "P50",
    "creator": "P170",
    "composer": "P86",
    "director": "P57",
    "applies_to_jurisdiction": "P1001",
    "overrules": "P4006",
    "laws_applied": "P3014",
    "repealed_by": "P2568",
    "majority_opinion_by": "P5826",
    "plaintiff": "P1620",
    "defendant": "P1591",
    "movement": "P135",
    "influenced_by": "P737",
    "member_of_political_party": "P102",
    "diplomatic_relation": "P530",
    "position_held": "P39",
    "basic_form_of_government": "P122",
    "office_held_by_head_of_state": "P1906",
    "head_of_state": "P35",
    "office_held_by_head_of_government": "P1313",
    "head_of_government": "P6",
    "shares_border_with": "P47",
    "continent": "P30",
    "capital": "P36",
    "capital_of": "P1376",
    "country": "P17",
    "twinned_administrative_body": "P190",
    "currency": "P38",
    "central_bank": "P1304",
    "subsidiary": "P355",
    "stock_exchange": "P414",
    "industry": "P452",
    "statement_describes": "P2384",
    "solved_by": "P1136",
    "programming_language": "P277",
    "file_extension": "P1195",
    "number_of_processor_cores": "P1141",
    "operating_system": "P306",
    "measured_physical_quantity": "P111",
    "recommended_unit_of_measurement": "P8111",
    "atomic_number": "P1086",
    "electron_configuration": "P8000",
    "discoverer_or_inventor": "P61",
    "time_of_discovery_or_invention": "P575",
    "location_of_discovery": "P189",
    "medical_condition_treated": "P2175",
    "drug_or_therapy_used_for_treatment": "P2176",
    "genetic_association": "P2293",
    "therapeutic_area": "P4044",
    "symptoms_and_signs": "P780",
    "place_of_birth": "P19",
    "place_of_death": "P20",
    "subclass_of": "P279",
    "official_language": "P37",
    "position_played_on_team": "P413",
    "member_of_sports_team": "P54",
    "award_received": "P166",
    "original_network": "P449",
    "educated_at": "P69",
    "named_after": "P138",
    "original_language_of_film_or_TV_show": "P364",
    "member_of": "P463",
    "field_of_work": "P101",
    "participating_team": "P1923",
    "occupation": "P106",
    "has_part": "P527",
    "manufacturer": "P176",
    "developer": "P178",
    "country_of_citizenship": "P27",
    "language_of_work_or_name": "P407",
    "located_in_the_administrative_territorial_entity": "P131",
    "languages_spoken_written_or_signed": "P1412",
    "employer": "P108",
    "record_label": "P264",
    "location": "P276",
    "work_location": "P937",
    "religion": "P140",
    "owned_by": "P127",
    "native_language": "P103",
    "instance_of": "P31",
    "country_of_origin": "P495",
    "headquarters_location": "P159",
    "location_of_formation": "P740",
    "part_of": "P361",
}
"""HELM's names of the relations, and Wikidata's."""

ARGS = {"subject": tuple(RELATIONS), "k": ("5", *map(str, (1, 2, 3, 4, 6, 7, 8, 9, 10)))}

_SPLITS: tuple[tuple[str, Split], ...] = (("train", "train"), ("dev", "valid"), ("test", "test"))


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(_drafts(loader, chosen(args, ARGS, "subject")))


def _drafts(loader: Loader, subject: str) -> Iterator[Draft]:
    for name, split in _SPLITS:
        local = Local(path=f"wikifact/{name}.jsonl")
        if name == "dev":  # the mirror has none
            rows = rows_if_any(loader, local)
        else:
            rows = loader.rows(local, mirror("lighteval/wikifact", config=subject, split=name))
        for row in rows:
            if "property" not in row:
                yield Draft(
                    input=field(row, "question"), references=_stripped(texts(row, "references")), split=split
                )
            elif field(row, "property") == RELATIONS[subject]:
                yield Draft(input=field(row, "template"), references=_stripped(_names(row)), split=split)


def _names(row: Row) -> list[str]:
    aliases: list[Any] = field(row, "result_names", list)
    return [name for number in range(len(aliases)) for name in _some(row, aliases[number], number)]


def _some(row: Row, names: object, number: int) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad(
            row, f"field 'result_names', item {number}: should be a list of texts, but is {names!r:.60}"
        )
    return names


def _stripped(names: list[str]) -> tuple[Reference, ...]:
    return answer(*(name.strip() for name in names))


def vary(adaptation: Adaptation, args: Args) -> Adaptation:
    return replace(adaptation, outputs=int(chosen(args, ARGS, "k")))


WIKIFACT = Scenario(
    name="wikifact",
    title="WikiFact",
    description="Completes a fact of Wikidata that is put as the beginning of a sentence.",
    source="https://worksheets.codalab.org/bundles/0x8c3b60eb7c6b462e822a150f194d3b35 (Liang et al. 2022, 4.2)",
    licence="CC0-1.0 (Wikidata)",
    read=read,
    adaptation=completion(
        output_prefix=" ", output_suffix="\n", shots=5, outputs=5, temperature=1.0, max_tokens=8, stop=("\n",)
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("targeted", "knowledge"),
    args=ARGS,
    vary=vary,
)
