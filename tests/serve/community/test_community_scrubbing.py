"""Personal data is found where it is said that it is found, and nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from commonweal.core.errors import ConfigError
from commonweal.serve.community.presidio import PresidioScrubber, presidio_scrubber
from commonweal.serve.community.scrubbing import PatternScrubber, iban, luhn

SCRUBBER = PatternScrubber()

FOUND = {
    "write to ann.lee+x@mail.example.co.uk, please": ("write to [EMAIL], please", "EMAIL"),
    "call +49 (0)171 123 45 67 today": ("call [PHONE] today", "PHONE"),
    "call 555-123-4567 today": ("call [PHONE] today", "PHONE"),
    "call 030/1234 5678 today": ("call [PHONE] today", "PHONE"),
    "pay to GB82 WEST 1234 5698 7654 32.": ("pay to [IBAN].", "IBAN"),
    "pay to DE89370400440532013000 now": ("pay to [IBAN] now", "IBAN"),
    "card 4111-1111-1111-1111, ok": ("card [CARD], ok", "CARD"),
    "card 378282246310005 ok": ("card [CARD] ok", "CARD"),
    "from 203.0.113.9 it came": ("from [IP] it came", "IP"),
    "from 2001:db8::8a2e:370:7334 it came": ("from [IP] it came", "IP"),
    "key sk-proj-abcdefghijklmnop1234 leaked": ("key [SECRET] leaked", "SECRET"),
    "key cw-abcdefghijklmnopqrstuv leaked": ("key [SECRET] leaked", "SECRET"),
    "AKIAIOSFODNN7EXAMPLE was it": ("[SECRET] was it", "SECRET"),
    "my password is hunter22!": ("my password is [SECRET]", "SECRET"),
    'api_key = "abcd1234efgh"': ('api_key = "[SECRET]"', "SECRET"),
    "Authorization: Bearer abcdefghijklmnop.qrst": ("Authorization: Bearer [SECRET]", "SECRET"),
    "git clone https://joe:pw123@host.example/r": ("git clone https://[SECRET]@host.example/r", "SECRET"),
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": ("[SECRET]", "SECRET"),
    "Hi, my name is Ana de la Cruz and I": ("Hi, my name is [NAME] and I", "NAME"),
    "Ask Dr. Meier about it": ("Ask Dr. [NAME] about it", "NAME"),
}

LEFT = (
    "version 1.2.3 of 2024-01-02 costs 1,234,567 or 3.14159265358979",
    "std::vector at 12:30:45, a ratio of 16:9, 10:20:30:40",
    "order 4111-1111-1111-1112 is no card, GB82 WEST 1234 5698 7654 33 no account",
    "my name is not important, and the password must be long",
    "999.1.1.1 is no address, and 1.2.3.4.5 is none",
    "f(x) = 1234567890123456789012345",
    "Mr and Mrs are titles; @decorator, a@b",
    "see section 555-12 or ISO 8601-1",
)


@pytest.mark.parametrize("text", FOUND)
def test_it_is_found(text: str) -> None:
    expected, kind = FOUND[text]
    scrubbed = SCRUBBER.scrub(text)
    assert scrubbed.text == expected
    assert scrubbed.found == {kind: 1}


@pytest.mark.parametrize("text", LEFT)
def test_it_is_left(text: str) -> None:
    assert SCRUBBER.scrub(text).text == text


def test_what_the_default_does_not_find_is_as_it_says() -> None:
    for text in (
        "Ann Lee lives at 12 Elm Street",
        "born on 1 May 1990",
        "call 01711234567",
        "ann at example dot org",
    ):
        assert SCRUBBER.scrub(text).found == {}


_PARTS = st.sampled_from(
    [*FOUND, *LEFT, " ", "\n", ":", "@", "[", "]", "+", "-", "1", "a", "4111111111111111", "Bearer ", "key: "]
)


@given(st.one_of(st.text(), st.lists(_PARTS, max_size=8).map("".join)))
@example("0://0:0@a@aa.aa")
def test_to_scrub_twice_changes_nothing_more(text: str) -> None:
    once = SCRUBBER.scrub(text)
    assert SCRUBBER.scrub(once.text).text == once.text


@pytest.mark.parametrize("piece", ["a.", "1-", "@", "a@", "0:", "[", "my name is A ", "--", "key:", "+1 "])
def test_no_text_takes_long(piece: str) -> None:
    """Patterns that backtrack would take minutes."""
    SCRUBBER.scrub(piece * (20_000 // len(piece)))


@given(st.text("0123456789", min_size=12, max_size=18))
def test_of_ten_last_digits_one_is_right(digits: str) -> None:
    right = [d for d in "0123456789" if luhn(digits + d)]
    assert len(right) == (0 if len(set(digits)) == 1 and luhn_of_repeated(digits) else 1)


def luhn_of_repeated(digits: str) -> bool:
    """A run of one digit is no card's number, whatever its check digit says."""
    return not any(luhn(digits + d) for d in "0123456789" if d != digits[0])


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=11, max_size=30), st.integers(2, 98))
def test_one_pair_of_check_digits_is_right(account: str, wrong: int) -> None:
    value = int("".join(str(int(c, 36)) for c in account + "GB00"))
    check = 98 - value % 97
    assert iban(f"GB{check:02}{account}")
    if wrong != check and (wrong - check) % 97:
        assert not iban(f"GB{wrong:02}{account}")


@dataclass
class Found:
    entity_type: str
    start: int
    end: int
    score: float


class Analyzer:
    """Stands for Presidio: finds two names, once surely and once not."""

    def analyze(self, text: str, language: str) -> list[Found]:
        found = [
            Found("PERSON", at, at + len(name), score)
            for name, score in (("Ann Lee", 0.9), ("Ann", 0.8), ("Bob", 0.3), ("EMAIL", 0.9))
            if (at := text.find(name)) >= 0
        ]
        assert language == "en"
        return found


def test_presidio_adds_to_what_the_patterns_found() -> None:
    scrubbed = PresidioScrubber(analyzer=Analyzer()).scrub("Ann Lee and Bob: a@example.org")
    assert scrubbed.text == "[PERSON] and Bob: [EMAIL]"
    assert scrubbed.found == {"PERSON": 1, "EMAIL": 1}


def test_presidio_that_is_not_installed_says_so() -> None:
    with pytest.raises(ConfigError, match="not installed"):
        presidio_scrubber()
