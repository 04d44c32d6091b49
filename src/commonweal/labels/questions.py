"""What every label is asked, section by section, in the order in which it is shown. Pure data.

The same questions for every model, its own or a stranger's: what is not answered is counted, not left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Section = Literal["model", "data", "alignment", "compute", "method", "use", "evaluation", "accountability"]

SECTIONS: dict[Section, str] = {
    "model": "What it is",
    "data": "What it was trained on",
    "alignment": "Instructions and feedback",
    "compute": "Compute",
    "method": "Method",
    "use": "Use",
    "evaluation": "Evaluation",
    "accountability": "Who answers for it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``key`` is section and name, ``name`` what the label shows, ``asks`` what a whole answer has. ``inherited``: the
    answer of a model that it was made of counts too, so both must be told."""

    key: str
    name: str
    asks: str
    inherited: bool = False

    @property
    def section(self) -> Section:
        section: Section = self.key.partition(".")[0]  # type: ignore[assignment]
        return section


def _ask(key: str, name: str, asks: str, *, inherited: bool = False) -> Question:
    return Question(key=key, name=name, asks=asks, inherited=inherited)


QUESTIONS: tuple[Question, ...] = (
    _ask("model.architecture", "Architecture", "the family and its sizes"),
    _ask("model.size", "Parameters", "how many, to one figure"),
    _ask("model.parts", "Parts", "all parts that can be told apart"),
    _ask("model.input", "Reads", "text, pictures, sound ..."),
    _ask("model.output", "Writes", "text, pictures, sound ..."),
    _ask("model.window", "Context", "how many tokens it reads at once"),
    _ask("model.base", "Made from", "the model that it was made from, or that there is none"),
    _ask("model.weights", "Weights", "a hash that tells these weights from all others"),
    _ask("model.precision", "Precision", "in how many bits the weights are served"),
    _ask("model.licence", "Licence", "under which licence the model may be used"),
    _ask("data.sources", "Sources", "every source, by name", inherited=True),
    _ask("data.size", "Size", "tokens, bytes or documents", inherited=True),
    _ask("data.licences", "Licences", "the licence of each source", inherited=True),
    _ask("data.copyright", "Copyright", "what of the data is under copyright", inherited=True),
    _ask("data.hashes", "Hashes", "hashes by which the data can be known again", inherited=True),
    _ask("data.access", "Where to get it", "how others can get the same data", inherited=True),
    _ask("data.tokenizer", "Tokenizer", "which, and its size"),
    _ask("data.held_out", "Kept apart", "what was not trained on, to measure by"),
    _ask("data.creators", "Who wrote it", "what is known of the people who made the data", inherited=True),
    _ask("data.selection", "Selection", "how sources were chosen", inherited=True),
    _ask("data.curation", "Curation", "what was done to the data, or that nothing was", inherited=True),
    _ask("data.augmentation", "Made data", "what was added by machines, or that nothing was", inherited=True),
    _ask("data.harmful", "Harmful content", "how it was taken out, or that it was not", inherited=True),
    _ask("data.personal", "Personal data", "whether the data has any", inherited=True),
    _ask("data.privacy", "Privacy", "what was done about personal data", inherited=True),
    _ask(
        "alignment.instructions",
        "Instructions",
        "the examples of instructions it learned from",
        inherited=True,
    ),
    _ask("alignment.feedback", "Feedback", "the feedback it learned from, counted", inherited=True),
    _ask("alignment.people", "Whose", "who gave instructions and feedback", inherited=True),
    _ask("alignment.consent", "Consent", "what these people agreed to", inherited=True),
    _ask("alignment.pay", "Pay", "what these people were paid", inherited=True),
    _ask("alignment.guidance", "Their task", "the words they were asked with", inherited=True),
    _ask("compute.members", "Members", "how many machines worked on it", inherited=True),
    _ask("compute.hours", "Member hours", "how long all machines worked", inherited=True),
    _ask("compute.tokens", "Tokens learned", "how many tokens were computed", inherited=True),
    _ask("compute.operations", "Operations", "floating point operations, to one figure", inherited=True),
    _ask("compute.duration", "Duration", "from the first to the last hour", inherited=True),
    _ask("compute.hardware", "Hardware", "which machines, and how many", inherited=True),
    _ask("compute.owners", "Whose machines", "who owns the hardware", inherited=True),
    _ask("compute.energy", "Energy", "in kWh, and how that is known", inherited=True),
    _ask("compute.carbon", "Carbon", "in kg of CO2, and how that is known", inherited=True),
    _ask("compute.network", "Network", "how many bytes were sent", inherited=True),
    _ask("compute.paid", "Paid", "what the work was paid", inherited=True),
    _ask("method.stages", "Stages", "every step of the building, in order", inherited=True),
    _ask("method.objectives", "Objectives", "what each stage makes small", inherited=True),
    _ask("method.settings", "Settings", "the settings of the training"),
    _ask("method.checks", "Checks", "how the work of strangers was checked"),
    _ask("method.result", "What came of it", "a measure before and after"),
    _ask("method.frameworks", "Software", "the main frameworks", inherited=True),
    _ask("method.dependencies", "Depends on", "what is needed besides data, compute and code"),
    _ask("use.intended", "Intended use", "what it is for, and what it is not for"),
    _ask("use.capabilities", "Can do", "what it can do"),
    _ask("use.limitations", "Cannot do", "what it cannot do"),
    _ask("use.risks", "Risks", "what harm it may do"),
    _ask("use.mitigations", "Against them", "what was done about these risks, or that nothing was"),
    _ask("use.users", "Who may use it", "who may and who may not"),
    _ask("use.access", "How to ask it", "how others can ask it"),
    _ask("use.files", "How to get it", "how others can get its weights"),
    _ask("use.channels", "Where it is", "all places that it is given out at"),
    _ask("use.terms", "Terms of service", "the terms of each of these places"),
    _ask("evaluation.accuracy", "Accuracy", "measured, with intervals"),
    _ask("evaluation.calibration", "Calibration", "measured, with intervals"),
    _ask("evaluation.robustness", "Robustness", "measured, with intervals"),
    _ask("evaluation.fairness", "Fairness", "measured, with intervals"),
    _ask("evaluation.bias", "Bias", "measured, with intervals"),
    _ask("evaluation.toxicity", "Toxicity", "measured, with intervals"),
    _ask("evaluation.efficiency", "Efficiency", "measured, with intervals"),
    _ask("evaluation.energy", "Energy of answers", "measured, and by which method"),
    _ask("evaluation.misuse", "Misuse", "measured: does it help who means harm"),
    _ask("evaluation.again", "Can be done again", "all that is needed to measure it again"),
    _ask("accountability.publisher", "Published by", "who answers for it"),
    _ask("accountability.contact", "Contact", "how to reach them"),
    _ask("accountability.release", "Release", "when and how it was released, and who decided by what"),
    _ask("accountability.versions", "Versions", "how versions are told apart"),
    _ask("accountability.changes", "Changes", "what changed from version to version"),
    _ask("accountability.feedback", "Feedback", "how to report what is wrong"),
)

BY_KEY: dict[str, Question] = {question.key: question for question in QUESTIONS}
