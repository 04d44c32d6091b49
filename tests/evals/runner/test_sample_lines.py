"""A sample's line says what json would say, whoever writes it; a request's canonical form is that of all its fields."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core import completion as seam
from commonweal.core.completion import Choice, Completion, Request, Token
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Ask, Sample
from commonweal.evals.sample_record import Asked, record_of, sample_line

texts = st.text(st.characters(exclude_categories=()))  # half surrogate pairs among them


def line_of(text: str = "x", *, logprob: float = -0.5, annotations: Any = None, scores: Any = None) -> bytes:
    ask = Ask(role="output", request=Request(model="m", prompt=text, stop=(text,)))
    token = Token(text=text, logprob=-0.5, top={"a": logprob})
    completion = Completion(choices=(Choice(text=text, tokens=(token,), logprob=-0.5),))
    sample = Sample(
        instance=Instance(id="i", input=text, references=(Reference(text=text, correct=True),)),
        adaptation=Adaptation(),
        trial=0,
        answers=(Answer(ask=ask, completion=completion),),
        output=text,
        annotations=annotations or {},
    )
    return sample_line(sample, [Asked(ask=ask, completion=completion)], scores or {})


@given(texts)
def test_any_text_comes_back_with_its_prompt_byte_for_byte(text: str) -> None:
    line = line_of(text, annotations={"said": text})
    record = record_of(line)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert record == json.loads(line.decode("utf-8", "surrogatepass"))
    assert record["output"] == record["instance"]["input"] == record["annotations"]["said"] == text
    assert record["requests"][0]["request"]["prompt"] == text
    canonical = Request(model="m", prompt=text, stop=(text,)).canonical()
    assert canonical.encode("utf-8", "surrogatepass") in line


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_are_kept_as_they_are(number: float) -> None:
    scored = record_of(line_of(scores={"s": number, "t": 1.0}))["scores"]
    likely = record_of(line_of(logprob=number))["requests"][0]["completion"]["choices"][0]["tokens"][0][2][
        "a"
    ]
    noted = record_of(line_of(annotations={"a": number}))["annotations"]["a"]
    for found in (scored["s"], likely, noted):
        assert found == pytest.approx(number, nan_ok=True)


def test_what_is_not_plain_is_written_as_before() -> None:
    record = record_of(line_of(annotations={"a": {"y", "x"}, "b": 2**70}, scores={"s": np.float64(0.25)}))
    assert record["annotations"]["a"] == ["x", "y"]
    assert record["scores"] == {"s": 0.25}


@given(
    texts,
    texts,
    st.sampled_from([0, 0.0, 1, 1.0, 1e-5, 0.7]),
    st.lists(texts, max_size=3).map(tuple),
    st.sampled_from([None, 0, 1, 5]),
)
def test_the_canonical_form_is_that_of_all_fields_at_once(
    model: str, prompt: str, temperature: float, stop: tuple[str, ...], logprobs: int | None
) -> None:
    request = Request(model=model, prompt=prompt, temperature=temperature, stop=stop, logprobs=logprobs)
    assert request.canonical() == seam._encode(seam._plain(request))


def test_a_quoted_prompt_in_a_models_name_is_not_taken_for_the_prompt() -> None:
    request = Request(model='"prompt":""', prompt='"prompt":""', stop=('"prompt":""',))
    assert request.canonical() == seam._encode(seam._plain(request))
