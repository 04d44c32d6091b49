"""BLiMP: minimal pairs of English sentences (Warstadt et al. 2020, TACL 8).

HELM asks for a phenomenon, which is several paradigms of 1,000 pairs. One paradigm can be chosen too; it is the
``subset`` of an instance. Sentences are read from a paradigm's own file, from the authors' BLiMP.zip, or from the Hub.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.core.errors import ConfigError
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, numbered
from commonweal.evals.scenarios.prompting import separate
from commonweal.evals.scenarios.reading import mirror

PARADIGMS: dict[str, tuple[str, ...]] = {
    "island_effects": (
        "left_branch_island_simple_question",
        "sentential_subject_island",
        "wh_island",
        "coordinate_structure_constraint_object_extraction",
        "coordinate_structure_constraint_complex_left_branch",
        "adjunct_island",
        "complex_NP_island",
        "left_branch_island_echo_question",
    ),
    "anaphor_agreement": ("anaphor_gender_agreement", "anaphor_number_agreement"),
    "argument_structure": (
        "animate_subject_passive",
        "animate_subject_trans",
        "transitive",
        "passive_1",
        "intransitive",
        "passive_2",
        "causative",
        "drop_argument",
        "inchoative",
    ),
    "determiner_noun_agreement": (
        "determiner_noun_agreement_with_adj_irregular_2",
        "determiner_noun_agreement_1",
        "determiner_noun_agreement_with_adj_irregular_1",
        "determiner_noun_agreement_irregular_1",
        "determiner_noun_agreement_irregular_2",
        "determiner_noun_agreement_with_adjective_1",
        "determiner_noun_agreement_2",
        "determiner_noun_agreement_with_adj_2",
    ),
    "subject_verb_agreement": (
        "distractor_agreement_relative_clause",
        "irregular_plural_subject_verb_agreement_2",
        "irregular_plural_subject_verb_agreement_1",
        "regular_plural_subject_verb_agreement_1",
        "distractor_agreement_relational_noun",
        "regular_plural_subject_verb_agreement_2",
    ),
    "ellipsis": ("ellipsis_n_bar_1", "ellipsis_n_bar_2"),
    "control_raising": (
        "expletive_it_object_raising",
        "tough_vs_raising_1",
        "existential_there_subject_raising",
        "tough_vs_raising_2",
        "existential_there_object_raising",
    ),
    "quantifiers": (
        "existential_there_quantifiers_1",
        "superlative_quantifiers_1",
        "superlative_quantifiers_2",
        "existential_there_quantifiers_2",
    ),
    "irregular_forms": ("irregular_past_participle_verbs", "irregular_past_participle_adjectives"),
    "npi_licensing": (
        "sentential_negation_npi_licensor_present",
        "matrix_question_npi_licensor_present",
        "sentential_negation_npi_scope",
        "only_npi_licensor_present",
        "only_npi_scope",
        "npi_present_2",
        "npi_present_1",
    ),
    "binding": (
        "principle_A_domain_2",
        "principle_A_domain_3",
        "principle_A_case_1",
        "principle_A_case_2",
        "principle_A_reconstruction",
        "principle_A_c_command",
        "principle_A_domain_1",
    ),
    "filler_gap_dependency": (
        "wh_vs_that_with_gap",
        "wh_vs_that_no_gap",
        "wh_questions_object_gap",
        "wh_vs_that_no_gap_long_distance",
        "wh_questions_subject_gap",
        "wh_questions_subject_gap_long_distance",
        "wh_vs_that_with_gap_long_distance",
    ),
}
"""Phenomena and their paradigms, in HELM's order (scenarios/blimp_scenario.py)."""

ARGS = {
    "phenomenon": tuple(PARADIGMS),
    "paradigm": ("all", *(name for names in PARADIGMS.values() for name in names)),
}


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(
        Draft(
            input="",
            references=(
                Reference(text=field(pair, "sentence_good"), correct=True),
                Reference(text=field(pair, "sentence_bad")),
            ),
            subset=paradigm,
        )
        for paradigm in _paradigms(args)
        for pair in _pairs(loader, paradigm)
    )


def _paradigms(args: Args) -> tuple[str, ...]:
    phenomenon, paradigm = chosen(args, ARGS, "phenomenon"), chosen(args, ARGS, "paradigm")
    if paradigm == "all":
        return PARADIGMS[phenomenon]
    if paradigm not in PARADIGMS[phenomenon]:
        right = next(name for name, paradigms in PARADIGMS.items() if paradigm in paradigms)
        raise ConfigError(f"'{paradigm}' is no paradigm of {phenomenon}", hint=f"say phenomenon={right}")
    return (paradigm,)


def _pairs(loader: Loader, paradigm: str) -> Iterator[Row]:
    return loader.rows(
        Local(path=f"blimp/{paradigm}.jsonl"),
        Local(path=f"blimp/BLiMP.zip/data/{paradigm}.jsonl"),
        mirror("nyu-mll/blimp", config=paradigm, split="train"),
    )


BLIMP = Scenario(
    name="blimp",
    title="BLiMP",
    description="Minimal pairs of an acceptable and an unacceptable English sentence: which one is likelier?",
    source="https://github.com/alexwarstadt/blimp (Warstadt et al. 2020, https://aclanthology.org/2020.tacl-1.25)",
    licence="CC-BY-4.0",
    read=read,
    adaptation=separate(empty_input=True),
    main_metric="exact_match",
    metrics=("multiple_choice", "minimal_pair"),
    tags=("targeted", "language", "linguistic_knowledge"),
    args=ARGS,
    needs=("logprobs",),
)
