"""The published instructions of the RAFT tasks, and which fields of a text are shown, in which order.

Data, taken as they are from HELM (Apache-2.0, ``scenarios/raft_scenario.py`` of 2022), which has them from the
benchmark's baselines (https://github.com/oughtinc/raft-baselines, MIT; Alex et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping

FIELDS: Mapping[str, tuple[str, ...]] = {
    "ade_corpus_v2": ("Sentence",),
    "banking_77": ("Query",),
    "neurips_impact_statement_risks": ("Impact statement", "Paper title"),
    "one_stop_english": ("Article",),
    "overruling": ("Sentence",),
    "semiconductor_org_types": ("Organization name", "Paper title"),
    "systematic_review_inclusion": ("Title", "Abstract", "Journal"),
    "tai_safety_research": ("Title", "Abstract Note", "Publication Title", "Item Type", "Publication Year"),
    "terms_of_service": ("Sentence",),
    "tweet_eval_hate": ("Tweet",),
    "twitter_complaints": ("Tweet text",),
}


def _labels(*labels: str) -> str:
    return "\nPossible labels:\n" + "\n".join(f"{n}. {label}" for n, label in enumerate(labels, 1))


INSTRUCTIONS: Mapping[str, str] = {
    "ade_corpus_v2": "Label the sentence based on whether it is related to an adverse drug effect (ADE). "
    "Details are described below:\n"
    "Drugs: Names of drugs and chemicals that include brand names, trivial names, abbreviations and systematic "
    "names were annotated. Mentions of drugs or chemicals should strictly be in a therapeutic context. This "
    "category does not include the names of metabolites, reaction byproducts, or hospital chemicals (e.g. surgical "
    "equipment disinfectants).\n"
    "Adverse effect: Mentions of adverse effects include signs, symptoms, diseases, disorders, acquired "
    "abnormalities, deficiencies, organ damage or death that strictly occur as a consequence of drug intake."
    + _labels("ADE-related", "not ADE-related"),
    "banking_77": "The following is a banking customer service query. Classify the query into one of the 77 "
    "categories available."
    + _labels(
        "Refund_not_showing_up",
        "activate_my_card",
        "age_limit",
        "apple_pay_or_google_pay",
        "atm_support",
        "automatic_top_up",
        "balance_not_updated_after_bank_transfer",
        "balance_not_updated_after_cheque_or_cash_deposit",
        "beneficiary_not_allowed",
        "cancel_transfer",
        "card_about_to_expire",
        "card_acceptance",
        "card_arrival",
        "card_delivery_estimate",
        "card_linking",
        "card_not_working",
        "card_payment_fee_charged",
        "card_payment_not_recognised",
        "card_payment_wrong_exchange_rate",
        "card_swallowed",
        "cash_withdrawal_charge",
        "cash_withdrawal_not_recognised",
        "change_pin",
        "compromised_card",
        "contactless_not_working",
        "country_support",
        "declined_card_payment",
        "declined_cash_withdrawal",
        "declined_transfer",
        "direct_debit_payment_not_recognised",
        "disposable_card_limits",
        "edit_personal_details",
        "exchange_charge",
        "exchange_rate",
        "exchange_via_app",
        "extra_charge_on_statement",
        "failed_transfer",
        "fiat_currency_support",
        "get_disposable_virtual_card",
        "get_physical_card",
        "getting_spare_card",
        "getting_virtual_card",
        "lost_or_stolen_card",
        "lost_or_stolen_phone",
        "order_physical_card",
        "passcode_forgotten",
        "pending_card_payment",
        "pending_cash_withdrawal",
        "pending_top_up",
        "pending_transfer",
        "pin_blocked",
        "receiving_money",
        "request_refund",
        "reverted_card_payment?",
        "supported_cards_and_currencies",
        "terminate_account",
        "top_up_by_bank_transfer_charge",
        "top_up_by_card_charge",
        "top_up_by_cash_or_cheque",
        "top_up_failed",
        "top_up_limits",
        "top_up_reverted",
        "topping_up_by_card",
        "transaction_charged_twice",
        "transfer_fee_charged",
        "transfer_into_account",
        "transfer_not_received_by_recipient",
        "transfer_timing",
        "unable_to_verify_identity",
        "verify_my_identity",
        "verify_source_of_funds",
        "verify_top_up",
        "virtual_card_not_working",
        "visa_or_mastercard",
        "why_verify_identity",
        "wrong_amount_of_cash_received",
        "wrong_exchange_rate_for_cash_withdrawal",
    ),
    "neurips_impact_statement_risks": "Label the impact statement based on whether it mentions a harmful "
    "application of the research done in the paper. Make sure the statement is sufficient to conclude there are "
    "harmful applications of the research being done, not a past risk that this research is solving."
    + _labels("doesn't mention a harmful application", "mentions a harmful application"),
    "one_stop_english": "The following is an article sourced from The Guardian newspaper, and rewritten by teachers "
    "to suit three levels of adult English as Second Language (ESL) learners: elementary, intermediate, and "
    "advanced. Predict the level of the article." + _labels("advanced", "elementary", "intermediate"),
    "overruling": "In law, an overruling sentence is a statement that nullifies a previous case decision as a "
    "precedent, by a constitutionally valid statute or a decision by the same or higher ranking court which "
    "establishes a different rule on the point of law involved. Label the sentence based on whether it is "
    "overruling or not." + _labels("not overruling", "overruling"),
    "semiconductor_org_types": "The dataset is a list of institutions that have contributed papers to semiconductor "
    "conferences in the last 25 years, as catalogued by IEEE and sampled randomly. The goal is to classify the "
    'institutions into one of three categories: "university", "company" or "research institute".'
    + _labels("company", "research institute", "university"),
    "systematic_review_inclusion": "Identify whether this paper should be included in a meta-review which includes "
    "the findings of systematic reviews on interventions designed to promote charitable donations.\n"
    "Included reviews should describe monetary charitable donations, assess any population of participants in any "
    "context, and be peer reviewed and written in English.\n"
    "They should not report new data, be non-systematic reviews, consider cause-related marketing or other kinds of "
    "prosocial behaviour." + _labels("included", "not included"),
    "tai_safety_research": "Transformative AI (TAI) is defined as AI that precipitates a transition comparable to "
    '(or more significant than) the agricultural or industrial revolution. Label a paper as "TAI safety research" '
    "if:\n"
    "1. The contents of the paper are directly motivated by, and substantively inform, the challenge of ensuring "
    "good outcomes for TAI,\n"
    "2. There is substantive content on AI safety, not just AI capabilities,\n"
    "3. The intended audience is the community of researchers,\n"
    "4. It meets a subjective threshold of seriousness/quality,\n"
    "5. Peer review is not required." + _labels("TAI safety research", "not TAI safety research"),
    "terms_of_service": "Label the sentence from a Terms of Service based on whether it is potentially unfair. If it "
    "seems clearly unfair, mark it as potentially unfair.\n"
    "According to art. 3 of the Directive 93/13 on Unfair Terms in Consumer Contracts, a contractual term is unfair "
    "if: 1) it has not been individually negotiated; and 2) contrary to the requirement of good faith, it causes a "
    "significant imbalance in the parties rights and obligations, to the detriment of the consumer.\n"
    "Details on types of potentially unfair clauses are found below:\n"
    "The jurisdiction clause stipulates what courts will have the competence to adjudicate disputes under the "
    "contract. Jurisdiction clauses giving consumers a right to bring disputes in their place of residence were "
    "marked as clearly fair, whereas clauses stating that any judicial proceeding takes a residence away were marked "
    "as clearly unfair.\n"
    "The choice of law clause specifies what law will govern the contract, meaning also what law will be applied in "
    "potential adjudication of a dispute arising under the contract. Clauses defining the applicable law as the law "
    "of the consumer's country of residence were marked as clearly fair. In every other case, the choice of law "
    "clause was considered as potentially unfair.\n"
    "The limitation of liability clause stipulates that the duty to pay damages is limited or excluded, for certain "
    "kind of losses, under certain conditions. Clauses that explicitly affirm non-excludable providers' liabilities "
    "were marked as clearly fair. Clauses that reduce, limit, or exclude the liability of the service provider were "
    "marked as potentially unfair when concerning broad categories of losses or causes of them.\n"
    "The unilateral change clause specifies the conditions under which the service provider could amend and modify "
    "the terms of service and/or the service itself. Such clause was always considered as potentially unfair.\n"
    "The unilateral termination clause gives provider the right to suspend and/or terminate the service and/or the "
    "contract, and sometimes details the circumstances under which the provider claims to have a right to do so.\n"
    "The contract by using clause stipulates that the consumer is bound by the terms of use of a specific service, "
    "simply by using the service, without even being required to mark that he or she has read and accepted them. We "
    "always marked such clauses as potentially unfair.\n"
    "The content removal gives the provider a right to modify/delete user's content, including in-app purchases, and "
    "sometimes specifies the conditions under which the service provider may do so.\n"
    "The arbitration clause requires or allows the parties to resolve their disputes through an arbitration process, "
    "before the case could go to court. Clauses stipulating that the arbitration should take place in a state other "
    "then the state of consumer's residence or be based on arbiter's discretion were marked as clearly unfair. "
    "Clauses defining arbitration as fully optional were marked as clearly fair."
    + _labels("not potentially unfair", "potentially unfair"),
    "tweet_eval_hate": "Label whether the following tweet contains hate speech against either immigrants or women. "
    "Hate Speech (HS) is commonly defined as any communication that disparages a person or a group on the basis of "
    "some characteristic such as race, color, ethnicity, gender, sexual orientation, nationality, religion, or other "
    "characteristics." + _labels("hate speech", "not hate speech"),
    "twitter_complaints": "A complaint presents a state of affairs which breaches the writer’s favorable "
    "expectation. Label the tweet text based on whether it contains a complaint."
    + _labels("complaint", "no complaint"),
}
