"""The hundred indicators of the Foundation Model Transparency Index, and which questions of a label answer them.

Names, domains and subdomains are those of the index of October 2023 (Bommasani et al. 2023, arXiv:2310.12941), which
its edition of May 2024 kept. Where a label does not answer one, ``left_out`` says why. Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Domain = Literal["Upstream", "Model", "Downstream"]
DOMAINS: tuple[Domain, ...] = ("Upstream", "Model", "Downstream")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """``questions`` are the keys that answer it: all of them are needed, or ``any_of`` them is enough."""

    domain: Domain
    subdomain: str
    name: str
    questions: tuple[str, ...] = ()
    any_of: bool = False
    left_out: str = ""


_LABOR = "no record tells how those who made the data are employed"
_JUDGED = "whether something is shown plainly is for people to judge"
_ITSELF = "the label is that document: it would give itself the point"
_SERVICE = "it is about the service of whoever offers the model, not about the model"
_IMPACT = "no record tells what others do with the model"
_WHO = "a run does not say who made it"
_ONCE = "whether runs can be made again is asked once, of all of them"
_POLICY = "a policy of its developer, of which there is no record"
_BEFORE = "no record compares the model with and without its mitigations"


def _asked(domain: Domain, subdomain: str, name: str, *questions: str, any_of: bool = False) -> Indicator:
    return Indicator(domain=domain, subdomain=subdomain, name=name, questions=questions, any_of=any_of)


def _left(domain: Domain, subdomain: str, why: str, *names: str) -> tuple[Indicator, ...]:
    return tuple(Indicator(domain=domain, subdomain=subdomain, name=name, left_out=why) for name in names)


INDICATORS: tuple[Indicator, ...] = (
    _asked("Upstream", "Data", "Data size", "data.size"),
    _asked("Upstream", "Data", "Data sources", "data.sources"),
    _asked("Upstream", "Data", "Data creators", "data.creators"),
    _asked("Upstream", "Data", "Data source selection", "data.selection"),
    _asked("Upstream", "Data", "Data curation", "data.curation"),
    _asked("Upstream", "Data", "Data augmentation", "data.augmentation"),
    _asked("Upstream", "Data", "Harmful data filtration", "data.harmful"),
    _asked("Upstream", "Data", "Data copyright status", "data.copyright"),
    _asked("Upstream", "Data", "Data license status", "data.licences"),
    _asked("Upstream", "Data", "Personal information in data", "data.personal"),
    _asked("Upstream", "Data labor", "Use of human labor", "alignment.people"),
    *_left("Upstream", "Data labor", _LABOR, "Employment of data laborers"),
    *_left("Upstream", "Data labor", _LABOR, "Geographic distribution of data laborers"),
    _asked("Upstream", "Data labor", "Wages", "alignment.pay"),
    _asked("Upstream", "Data labor", "Instructions for creating data", "alignment.guidance"),
    *_left("Upstream", "Data labor", _LABOR, "Labor protections"),
    *_left("Upstream", "Data labor", "no record tells of contracts", "Third party partners"),
    *_left("Upstream", "Data access", "no search over the data is offered", "Queryable external data access"),
    _asked("Upstream", "Data access", "Direct external data access", "data.access"),
    _asked("Upstream", "Compute", "Compute usage", "compute.operations"),
    _asked("Upstream", "Compute", "Development duration", "compute.duration"),
    _asked("Upstream", "Compute", "Compute hardware", "compute.hardware"),
    _asked("Upstream", "Compute", "Hardware owner", "compute.owners"),
    _asked("Upstream", "Compute", "Energy usage", "compute.energy"),
    _asked("Upstream", "Compute", "Carbon emissions", "compute.carbon"),
    *_left("Upstream", "Compute", "nothing of it is measured", "Broader environmental impact"),
    _asked("Upstream", "Methods", "Model stages", "method.stages"),
    _asked("Upstream", "Methods", "Model objectives", "method.objectives"),
    _asked("Upstream", "Methods", "Core frameworks", "method.frameworks"),
    _asked("Upstream", "Methods", "Additional dependencies", "method.dependencies"),
    _asked("Upstream", "Data Mitigations", "Mitigations for privacy", "data.privacy"),
    *_left(
        "Upstream",
        "Data Mitigations",
        "no step of the pipeline is about it; licences are asked for instead",
        "Mitigations for copyright",
    ),
    _asked("Model", "Model basics", "Input modality", "model.input"),
    _asked("Model", "Model basics", "Output modality", "model.output"),
    _asked("Model", "Model basics", "Model components", "model.parts"),
    _asked("Model", "Model basics", "Model size", "model.size"),
    _asked("Model", "Model basics", "Model architecture", "model.architecture"),
    *_left("Model", "Model basics", _ITSELF, "Centralized model documentation"),
    *_left("Model", "Model access", _POLICY, "External model access protocol"),
    _asked("Model", "Model access", "Blackbox external model access", "use.access"),
    _asked("Model", "Model access", "Full external model access", "use.files"),
    _asked("Model", "Capabilities", "Capabilities description", "use.capabilities"),
    *_left("Model", "Capabilities", _JUDGED, "Capabilities demonstration"),
    _asked("Model", "Capabilities", "Evaluation of capabilities", "evaluation.accuracy"),
    _asked(
        "Model",
        "Capabilities",
        "External reproducibility of capabilities evaluation",
        "evaluation.accuracy",
        "evaluation.again",
    ),
    *_left("Model", "Capabilities", _WHO, "Third-party capabilities evaluation"),
    _asked("Model", "Limitations", "Limitations description", "use.limitations"),
    *_left("Model", "Limitations", _JUDGED, "Limitations demonstration"),
    *_left(
        "Model",
        "Limitations",
        "it follows from access, which is asked for",
        "Third-party evaluation of limitations",
    ),
    _asked("Model", "Risks", "Risks description", "use.risks"),
    *_left("Model", "Risks", _JUDGED, "Risks demonstration"),
    _asked(
        "Model",
        "Risks",
        "Unintentional harm evaluation",
        "evaluation.bias",
        "evaluation.toxicity",
        "evaluation.fairness",
        any_of=True,
    ),
    *_left(
        "Model",
        "Risks",
        _ONCE,
        "External reproducibility of unintentional harm evaluation",
    ),
    _asked("Model", "Risks", "Intentional harm evaluation", "evaluation.misuse"),
    _asked(
        "Model",
        "Risks",
        "External reproducibility of intentional harm evaluation",
        "evaluation.misuse",
        "evaluation.again",
    ),
    *_left("Model", "Risks", _WHO, "Third-party risks evaluation"),
    _asked("Model", "Model Mitigations", "Mitigations description", "use.mitigations"),
    *_left(
        "Model",
        "Model Mitigations",
        _BEFORE,
        "Mitigations demonstration",
        "Mitigations evaluation",
        "External reproducibility of mitigations evaluation",
        "Third-party mitigations evaluation",
    ),
    _asked(
        "Model",
        "Trustworthiness",
        "Trustworthiness evaluation",
        "evaluation.robustness",
        "evaluation.calibration",
        any_of=True,
    ),
    *_left(
        "Model",
        "Trustworthiness",
        "it follows from the one above it and from reproducibility",
        "External reproducibility of trustworthiness evaluation",
    ),
    _asked("Model", "Inference", "Inference duration evaluation", "evaluation.efficiency"),
    *_left("Model", "Inference", "a run counts no operations", "Inference compute evaluation"),
    *_left("Downstream", "Distribution", _POLICY, "Release decision-making protocol"),
    _asked("Downstream", "Distribution", "Release process", "accountability.release"),
    _asked("Downstream", "Distribution", "Distribution channels", "use.channels"),
    *_left("Downstream", "Distribution", _IMPACT, "Products and services"),
    *_left("Downstream", "Distribution", "no answer is marked", "Machine-generated content"),
    _asked("Downstream", "Distribution", "Model Asset License", "model.licence"),
    _asked("Downstream", "Distribution", "Terms of service", "use.terms"),
    _asked("Downstream", "Usage policy", "Permitted and prohibited users", "use.users"),
    _asked("Downstream", "Usage policy", "Permitted, restricted, and prohibited uses", "use.intended"),
    *_left(
        "Downstream",
        "Usage policy",
        _POLICY,
        "Usage policy enforcement",
        "Justification for enforcement action",
        "Usage policy violation appeals mechanism",
    ),
    *_left(
        "Downstream",
        "Model behavior policy",
        _POLICY,
        "Permitted, restricted, and prohibited model behaviors",
        "Model behavior policy enforcement",
        "Interoperability of usage and model behavior policies",
    ),
    *_left("Downstream", "User Interface", _SERVICE, "User interaction with AI system", "Usage disclaimers"),
    *_left(
        "Downstream",
        "User data protection",
        _SERVICE,
        "User data protection policy",
        "Permitted and prohibited use of user data",
        "Usage data access protocol",
    ),
    _asked("Downstream", "Model Updates", "Versioning protocol", "accountability.versions"),
    _asked("Downstream", "Model Updates", "Change log", "accountability.changes"),
    *_left("Downstream", "Model Updates", _POLICY, "Deprecation policy"),
    _asked("Downstream", "Feedback", "Feedback mechanism", "accountability.feedback"),
    _asked("Downstream", "Feedback", "Feedback summary", "alignment.feedback"),
    *_left("Downstream", "Feedback", "no record tells of any", "Government inquiries"),
    *_left(
        "Downstream",
        "Impact",
        _IMPACT,
        "Monitoring mechanism",
        "Downstream applications",
        "Affected market sectors",
        "Affected individuals",
        "Usage reports",
        "Geographic statistics",
        "Redress mechanism",
    ),
    *_left(
        "Downstream",
        "Documentation for Deployers",
        _ITSELF,
        "Centralized documentation for downstream use",
        "Documentation for responsible downstream use",
    ),
)
"""In the order of the index."""

ASKED: tuple[Indicator, ...] = tuple(one for one in INDICATORS if one.questions)
