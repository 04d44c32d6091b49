"""An instance as HTML, put together as a string: a site may have a million of them.

Owns the markup of an instance, as the templates own that of pages. Invariants: every text from outside goes through
``marked`` or ``escaped``; attributes without quotes hold only what :mod:`addresses` made. End tags that HTML
does not need are left out.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache

from markupsafe import Markup

from commonweal.web.site.instances import Form, Instance
from commonweal.web.site.pictures import Picture
from commonweal.web.site.requests import Asked, Token
from commonweal.web.site.texts import Text
from commonweal.web.site.words import escaped, figure, line, marked

To = Callable[[str], str]

_QUESTIONS = 2048
"""Of how many instances the markup of the question is kept: the models of a scenario are all asked the same."""


def article(one: Instance, to: To) -> Markup:
    """``to`` gives the link to a path."""
    alone = len(one.forms) == 1
    parts = [
        f"<article id={one.anchor}><header><h2><a href=#{one.anchor}>{_line(one.id, 80)}</a></h2>",
        _badge(one.forms[0]) if alone else "",
        f"<p class=quiet>{_line(one.split, 80)}",
        f", {_line(one.subset, 80)}" if one.subset else "",
        f" · <a href={to(one.next_wrong)}>next wrong one</a>" if one.next_wrong else "",
        " <copy-link></copy-link></header>\n",
        _references(tuple(one.references)),
    ]
    if alone:
        form = one.forms[0]
        parts.append(_form(form, to))
        parts += [_asked(request, to, len(form.asked) == 1, one.inside, form) for request in form.asked]
        parts.append(_read(form, to))
    else:
        parts.append("<div class=forms>\n")
        for form in one.forms:
            parts += [
                f"<section class=form><h3>{_line(form.name, 60)} {_badge(form)}</h3>",
                _form(form, to),
                _read(form, to),
                "</section>\n",
            ]
        parts.append("</div>\n")
        for form in one.forms:
            if form.asked:
                parts.append(f"<section class=requests><h3>How it was asked: {_line(form.name, 60)}</h3>")
                parts += [_asked(request, to, len(form.asked) == 1, "", None) for request in form.asked]
                parts.append("</section>\n")
    parts += [_scores(one), "</article>\n"]
    return Markup("".join(parts))


@lru_cache(maxsize=4096)
def _line(text: str, most: int) -> str:
    return escaped(line(text, most))


def _badge(form: Form) -> str:
    return f'<span class="badge {form.outcome}">{form.word}</span>'


@lru_cache(maxsize=_QUESTIONS)
def _references(references: tuple[tuple[str, bool, int], ...]) -> str:
    if not references:
        return ""
    parts = ["<ul class=references>"]
    for text, correct, grade in references:
        if correct:
            parts.append(f"<li dir=auto class=right><span class=unseen>correct:</span> {marked(text or '')}")
        else:
            parts.append(f"<li dir=auto>{marked(text or '')}")
        if grade:
            parts.append(f" <small>grade {grade}</small>")
    parts.append("</ul>\n")
    return "".join(parts)


@lru_cache(maxsize=_QUESTIONS)
def _question(text: str, inside: str) -> str:
    """A prompt with the input in it set apart, where the input's markup is found nowhere else in the prompt's: what is
    replaced may not be a part of an entity or a tag."""
    made, part = marked(text), marked(inside)
    return made.replace(part, f"<b class=in>{part}</b>") if made.count(part) == 1 else made


def _pictures(pictures: Sequence[Picture], to: To) -> str:
    count = len(pictures)
    if count == 1:
        return _picture(pictures[0], "A picture", to)
    return "".join([_picture(one, f"Picture {n} of {count}", to) for n, one in enumerate(pictures, 1)])


def _picture(one: Picture, which: str, to: To) -> str:
    """A picture with the room that it will take, so that nothing moves when it comes; or why it is not there."""
    if not one.path:
        return f"<p class=image>{which} ({_line(one.name, 100)}): {_line(one.reason, 240)}.\n"
    link, about = to(one.path), escaped(one.about)
    return (
        f'<p class=picture><a href={link}><img src={link} alt="{which} of this prompt: {about}"'
        f" width={one.width} height={one.height} loading=lazy></a> <small>{about}</small>\n"
    )


def _form(form: Form, to: To) -> str:
    """What was put in."""
    made = f"<p class=label>input{_text(form.input, to)}" if form.input is not None else ""
    return made + _pictures(form.images, to) if form.images else made


def _read(form: Form, to: To) -> str:
    """What was read of the answer, or why there is none."""
    parts = []
    if form.failure:
        parts.append(f"<p class=failed>failed: {marked(form.failure)}\n")
    elif form.output is not None:
        parts.append("<p class=label>answer, as it was read")
        parts.append(_text(form.output, to, " answer") if form.output.beginning else ": nothing\n")
    for number, output in enumerate(form.outputs[1:], 2):
        parts.append(f"<p class=label>answer {number}{_text(output, to, ' answer')}")
    if form.probabilities:
        parts.append("<dl class=facts>")
        parts += [
            f"<div><dt dir=auto>{_line(name, 60)}<dd class=num>{figure(p)}</div>"
            for name, p in form.probabilities
        ]
        parts.append("</dl>\n")
    for name, told in form.annotations:
        parts.append(f"<details><summary>What {_line(name, 40)} found</summary>{_text(told, to)}</details>\n")
    return "".join(parts)


def _text(one: Text, to: To, kind: str = "", inside: str = "") -> str:
    kind = f'"text{kind}"' if kind else "text"
    shared = f"<p class=begin><a href=#begin-{one.shared}>Its beginning</a>, then:" if one.shared else ""
    if one.left_out:
        return (
            f"{shared}<pre class={kind} dir=auto>{marked(one.beginning)}</pre>"
            f"<p class=left>{one.left_out:,} characters are left out here: "
            f"<a href={to(one.path)}>all of it as plain text</a>."
            f"<pre class={kind} dir=auto>{marked(one.end)}</pre>\n"
        )
    text = one.beginning
    made = _question(text, inside) if inside else marked(text)
    return f"{shared}<pre class={kind} dir=auto>{made}</pre>\n"


def _asked(one: Asked, to: To, alone: bool, inside: str, form: Form | None) -> str:
    """One request. ``form`` is given where it is the only one of its instance."""
    parts = ["<div class=asked>" if not alone else ""]
    if not alone:
        parts.append(f"<h4>{_line(one.role, 80)}</h4>")
    if one.same:
        parts.append(f"<p class=quiet>The same prompt as for {_line(one.same, 80)}.\n")
    opened = " open" if one.open else ""
    if one.prompt is not None:
        parts.append(
            f"<details{opened}><summary>The exact prompt</summary>"
            f"{_text(one.prompt, to, inside=inside)}</details>"
        )
    if one.turns:
        parts.append(f"<details{opened}><summary>The exact messages ({len(one.turns)})</summary>\n")
        for turn in one.turns:
            parts.append(f"<div class=turn><span class=role>{_line(turn.role, 30)}</span>")
            if turn.images:
                parts.append(_pictures(turn.images, to))
            if turn.text.beginning or not turn.calls:
                parts.append(_text(turn.text, to))
            parts += [_calls(turn.calls), "</div>"]
        parts.append("</details>")
    if one.continuation is not None:
        parts.append(f"<p class=label>scored as its continuation{_text(one.continuation, to)}")
    if one.failure:
        parts.append(f"<p class=failed>failed: {marked(one.failure)}\n")
    completion = one.completion
    if completion is not None and one.continuation is None and (completion.beginning or not one.calls):
        same = form is not None and form.output is None
        parts.append(f"<p class=label>{_WROTE if same else 'the model wrote, raw'}{_text(completion, to)}")
    parts.append(_calls(one.calls))
    for number, other in enumerate(one.others, 2):
        parts.append(f"<p class=label>choice {number}{_text(other, to)}")
    if one.tokens:
        parts.append(_tokens(one.tokens, one.tokens_left))
    if one.facts:
        told = " · ".join([f"{name} {_fact(value)}" for name, value in one.facts])
        parts.append(f"<p class=quiet>{told}\n")
    if not alone:
        parts.append("</div>\n")
    return "".join(parts)


def _fact(value: str) -> str:
    """Most are numbers, of which no two are alike."""
    return escaped(value if value.isascii() and value.isprintable() else line(value, 200))


def _calls(rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    return "".join(
        f"<div class=call><span class=role>calls {_line(name, 80)}</span>"
        f"<pre class=text dir=auto>{marked(arguments)}</pre></div>"
        for name, arguments in rows
    )


_WROTE = "the model wrote, and so it was read, without the white space around it"

_SURE = tuple(math.log(step / 5) for step in (1, 2, 3, 4))


def _tokens(tokens: Sequence[Token], left: int) -> str:
    """Each with a class p0 to p4: how probable it was, in steps of a fifth."""
    parts = [
        f"<details><summary>Tokens and their log-probabilities ({len(tokens) + left})</summary><ol class=tokens>"
    ]
    for text, logprob, top in tokens:
        title = f' title="{_others(top)}"' if top else ""
        if logprob is None:
            parts.append(f"<li{title}><b>{_token(text or '')}</b>–")
        else:
            parts.append(
                f"<li class=p{bisect_right(_SURE, logprob)}{title}><b>{_token(text or '')}</b>{logprob:.2f}"
            )
    parts.append("</ol>")
    if left:
        parts.append(f"<p class=quiet>{left:,} more are in requests.parquet.")
    parts.append("</details>\n")
    return "".join(parts)


@lru_cache(maxsize=8192)
def _token(text: str) -> str:
    """A space at its beginning is seen as it is."""
    return f" {marked(text[1:])}" if text[:1] == " " and text[1:2].isalnum() else marked(text)


def _others(top: Sequence[tuple[str, float]]) -> str:
    return escaped(line(", ".join([f"{text!r} {number:.2f}" for text, number in top]), 300))


def _scores(one: Instance) -> str:
    metrics, numbers = one.metrics, one.numbers
    if not metrics:
        return ""
    more = f", and {len(metrics) - 1} more" if len(metrics) > 1 else ""
    shown = "".join([f" {_figure(found[0])}" for found in numbers])
    opened = " open" if len(metrics) <= 4 else ""
    summary = f"<details{opened}><summary>{_line(metrics[0], 80)}{shown}{more}</summary>"
    if len(numbers) == 1:
        told = "".join(
            [f"{label}{_figure(value)}" for label, value in zip(_labels(metrics), numbers[0], strict=True)]
        )
        return f"{summary}<dl class=scores>{told}</dl></details>\n"
    parts = [summary, "<div class=wide><table><thead><tr><th scope=col>metric"]
    parts += [f"<th scope=col class=num>{_line(form.name, 40)}" for form in one.forms]
    parts.append("<tbody>")
    for name, *found in zip(metrics, *numbers, strict=True):
        parts.append(f"<tr><th scope=row>{_line(name, 80)}")
        parts += [f"<td class=num>{_figure(value)}" for value in found]
    parts.append("</table></div></details>\n")
    return "".join(parts)


@lru_cache(maxsize=256)
def _labels(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"<dt>{_line(name, 80)}<dd>" for name in metrics)


_figure = lru_cache(maxsize=4096)(figure)
