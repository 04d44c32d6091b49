"""The chat page in a real Chromium, against a live hub with a scripted desk."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from community_hub import CommunityHub, publish, running, said

from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.completion import CompletionFailed
from commonweal.core.database import Database
from commonweal.core.errors import InsufficientCredits, Overloaded
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.web.chat import router

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
PICTURES = os.environ.get("COMMONWEAL_PICTURES")
"""A folder for screenshots, for people to look at."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]

HOSTILE = "\n".join(
    (
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>",
        "",
        "![picture](http://192.0.2.1/x.png) and [a trap](javascript:window.hacked=3)",
        "",
        "Escape \x1b[31mred\x1b[0m, turned \u202egnirts, and <b>bold</b> &amp; more.",
        "",
        "```html",
        "<script>window.hacked = 4</script>",
        "```",
        "",
        "[real](https://example.org/a?b=c&d) and https://example.org/bare.",
    )
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def hub(database: Database, blobs: Blobs) -> Iterator[CommunityHub]:
    publish(database, "small")
    publish(database, "large", price_out=3000, parameters=7_000_000_000, window=8192)
    with running(database, blobs, clock=SystemClock(), pages=[router]) as hub:
        yield hub


class Browser:
    """A page, and what went wrong in it."""

    def __init__(self, context: Any, hub: CommunityHub) -> None:
        self.hub = hub
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)
        self.troubles: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _said(self, message: Any) -> None:
        refused = "Failed to load resource" in message.text and "/v1/" in message.location["url"]
        if message.type in ("error", "warning") and not refused:
            self.troubles.append(message.text)

    def enter(self, key: str = "cw-ann") -> None:
        self.page.goto(f"{self.hub.url}/chat")
        self.page.get_by_label("Key", exact=True).fill(key)
        self.page.get_by_role("button", name="Enter").click()
        self.expect(self.page.get_by_label("Your message")).to_be_focused()
        self.page.locator("#model").select_option("small")
        self.page.get_by_label("Your message").focus()

    def say(self, text: str) -> None:
        self.page.get_by_label("Your message").fill(text)
        self.page.keyboard.press("Enter")

    def ask(self, text: str, answer: str) -> None:
        self.say(text)
        self.expect(self.answers.last.locator(".text")).to_have_text(answer)
        self.expect(self.page.locator(".measures").last).to_be_visible()

    @property
    def answers(self) -> Any:
        return self.page.locator("article.answer")

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def expect(self, locator: Any) -> Any:
        return sync_api.expect(locator)

    def picture(self, name: str) -> None:
        if PICTURES:
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


@pytest.fixture
def browser(chromium: Any, hub: CommunityHub) -> Iterator[Browser]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    browser = Browser(context, hub)
    yield browser
    context.close()
    assert browser.troubles == []
    assert [u for u in browser.requests if not u.startswith((hub.url, "blob:"))] == []


def test_a_wrong_key_is_refused_in_words(browser: Browser) -> None:
    browser.page.goto(f"{browser.hub.url}/chat")
    browser.page.get_by_label("Key", exact=True).fill("cw-nobody")
    browser.page.keyboard.press("Enter")
    browser.expect(browser.page.locator("#login-problem")).to_have_text("This key is not valid here.")
    browser.picture("door")


def test_the_key_stays_in_the_tab_and_can_be_forgotten(browser: Browser) -> None:
    browser.enter()
    browser.page.reload()
    browser.expect(browser.page.get_by_label("Your message")).to_be_visible()
    assert browser.page.evaluate("JSON.stringify(localStorage)").find("cw-ann") == -1
    browser.button("Your data and key").click()
    browser.button("Forget the key in this tab").click()
    browser.expect(browser.page.get_by_label("Key", exact=True)).to_be_visible()


def test_an_answer_streams_and_tells_its_figures(browser: Browser) -> None:
    gate = threading.Event()
    browser.hub.desk.script = lambda ask: ["Once ", "upon ", gate, *said("a time.")]
    browser.enter()
    browser.say("Tell me")
    browser.expect(browser.answers.locator(".text")).to_contain_text("Once upon")
    browser.expect(browser.button("Stop")).to_be_visible()
    gate.set()
    browser.expect(browser.answers.locator(".text")).to_have_text("Once upon a time.")
    figures = browser.page.locator(".measures")
    browser.expect(figures).to_contain_text("small")
    browser.expect(figures).to_contain_text("tokens/s")
    browser.expect(figures).to_contain_text("to first token")
    browser.expect(figures).to_contain_text("credits")
    browser.expect(browser.page.locator("#said")).to_contain_text("Once upon a time.")
    browser.expect(browser.page.locator("#conversations button")).to_have_text("Tell me")
    browser.expect(browser.button("Send")).to_be_visible()


def test_escape_stops_and_what_came_is_kept(browser: Browser) -> None:
    gate = threading.Event()
    browser.hub.desk.script = lambda ask: ["Never ", "ending ", gate]
    browser.enter()
    browser.say("Go")
    browser.expect(browser.answers.locator(".text")).to_contain_text("Never ending")
    browser.page.keyboard.press("Escape")
    browser.expect(browser.page.locator(".note")).to_have_text("You stopped it.")
    browser.expect(browser.answers.locator(".text")).to_have_text("Never ending")
    assert browser.hub.desk.closed
    gate.set()


def test_again_makes_another_answer_and_both_can_be_seen(browser: Browser) -> None:
    browser.enter()
    browser.hub.desk.script = lambda ask: said("First try.")
    browser.ask("Well?", "First try.")
    browser.hub.desk.script = lambda ask: said("Second try.")
    browser.button("Again").click()
    browser.expect(browser.answers.locator(".text")).to_have_text("Second try.")
    browser.expect(browser.page.locator(".siblings")).to_contain_text("2/2")
    browser.page.get_by_label("The answer before").click()
    browser.expect(browser.answers.locator(".text")).to_have_text("First try.")
    browser.ask("And then?", "Second try.")
    assert [m.content for m in browser.hub.desk.asks[-1].request.messages or ()] == [
        "Well?",
        "First try.",
        "And then?",
    ]


def test_a_small_window_is_not_asked_for_more_than_half_of_it(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    assert browser.hub.desk.asks[-1].request.max_tokens == 256, "of its 512"
    browser.button("View code").click()
    browser.expect(browser.page.locator("#snippet")).to_contain_text("max_tokens=256")
    browser.page.keyboard.press("Escape")
    browser.page.locator("#model").select_option("large")
    browser.ask("Well?", "Answer of large.")
    assert browser.hub.desk.asks[-1].request.max_tokens == 512


def test_a_question_can_be_asked_differently(browser: Browser) -> None:
    browser.enter()
    browser.hub.desk.script = lambda ask: said("One.")
    browser.ask("First wording", "One.")
    browser.button("Ask differently").click()
    field = browser.page.get_by_label("Your message")
    browser.expect(field).to_have_value("First wording")
    browser.hub.desk.script = lambda ask: said("Two.")
    browser.ask("Second wording", "Two.")
    browser.expect(browser.page.locator("article.question .siblings")).to_contain_text("2/2")
    assert len(browser.hub.desk.asks[-1].request.messages or ()) == 1


def test_thumbs_have_reasons_and_a_comment(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    browser.button("Bad").click()
    browser.page.get_by_label("Made up").check()
    browser.page.get_by_label("Comment").fill("There is no such place.")
    browser.picture("thumb")
    browser.button("Save").click()
    browser.expect(browser.page.get_by_label("Made up")).to_be_hidden()
    browser.expect(browser.button("Bad")).to_have_attribute("aria-pressed", "true")
    with browser.hub.client() as client:
        (one,) = client.get("/v1/community/conversations").json()["data"]
        (given,) = client.get(f"/v1/community/conversations/{one['id']}").json()["feedback"]
    assert (given["rating"], given["reasons"], given["comment"]) == (
        -1,
        ["made_up"],
        "There is no such place.",
    )
    browser.button("Bad").click()
    browser.button("Take back").click()
    browser.expect(browser.button("Bad")).to_have_attribute("aria-pressed", "false")


def test_an_answer_is_edited_to_the_ideal(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    browser.button("Edit to ideal").click()
    field = browser.page.get_by_label("The answer as it should have been")
    browser.button("Save").click()
    browser.expect(browser.page.get_by_role("alert")).to_contain_text("the answer itself")
    field.fill("A better answer.")
    browser.button("Save").click()
    browser.expect(browser.button("Your ideal")).to_have_attribute("aria-pressed", "true")
    browser.page.reload()
    browser.page.locator("#conversations button").click()
    browser.button("Your ideal").click()
    browser.expect(field).to_have_value("A better answer.")


def test_two_drafts_are_compared_blind(browser: Browser) -> None:
    browser.enter()
    browser.page.get_by_label("Compare two drafts, blind").check()
    browser.page.locator("#model").select_option("small")
    browser.page.get_by_label("Second model").select_option("large")
    browser.hub.desk.script = lambda ask: said(
        "The shorter one." if ask.request.model == "small" else "The other one, which says more."
    )
    browser.say("Which?")
    drafts = browser.page.locator("article.drafts")
    browser.expect(drafts).to_contain_text("The shorter one.")
    browser.expect(drafts).to_contain_text("The other one")
    assert "large" not in drafts.inner_text()
    browser.picture("drafts")
    browser.page.get_by_label("Why?").fill("It says more.")
    first = drafts.locator("section").first.inner_text()
    browser.button("A is better").click()
    browser.expect(browser.page.locator(".note")).to_contain_text("You found A better: draft A was by")
    shown = browser.answers.locator(".text").inner_text()
    assert shown in first
    model = browser.page.locator(".measures .model").inner_text()
    assert (model == "small") == (shown == "The shorter one.")


def test_hostile_output_is_only_text(browser: Browser) -> None:
    browser.hub.desk.script = lambda ask: [
        *(HOSTILE[i : i + 7] for i in range(0, len(HOSTILE), 7)),
        Ended(finish="stop"),
        Usage(prompt_tokens=1, completion_tokens=9),
    ]
    browser.enter()
    browser.say("<script>window.hacked = 5</script><b>me</b>")
    browser.expect(browser.page.locator(".measures")).to_be_visible()
    answer = browser.answers.locator(".text")
    browser.picture("hostile")
    text = answer.inner_text()
    assert "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>" in text
    assert "![picture](http://192.0.2.1/x.png)" in text
    assert "[a trap](javascript:window.hacked=3)" in text
    assert "⟨ESC⟩[31mred⟨ESC⟩[0m" in text
    assert "turned ⟨U+202E⟩gnirts" in text
    assert "<b>bold</b> &amp; more" in text
    browser.expect(browser.page.locator("article.question .text")).to_have_text(
        "<script>window.hacked = 5</script><b>me</b>"
    )
    assert browser.page.evaluate("window.hacked") is None
    assert browser.page.locator("#turns :is(img, script, iframe, b:not(.measures b))").count() == 0
    links = answer.locator("a")
    assert links.evaluate_all("all => all.map(a => a.textContent)") == [
        "https://example.org/a?b=c&d",
        "https://example.org/bare",
    ]
    assert links.evaluate_all("all => all.every(a => a.rel.includes('noopener') && a.href === a.textContent)")


def test_formatting_becomes_elements(browser: Browser) -> None:
    browser.hub.desk.script = lambda ask: said(
        "# Title\n\nSome **strong** and *soft* words with `code`.\n\n1. one\n2. two\n   - inner\n\n> quoted\n\n"
        "```python\nprint('hi')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    browser.enter()
    browser.say("Format")
    browser.expect(browser.page.locator(".measures")).to_be_visible()
    answer = browser.answers.locator(".text")
    for selector, text in {
        "h3": "Title",
        "strong": "strong",
        "em": "soft",
        "p code": "code",
        "ol > li:first-child": "one",
        "ol ul li": "inner",
        "blockquote": "quoted",
        "pre": "print('hi')",
        "td:last-child": "2",
    }.items():
        browser.expect(answer.locator(selector)).to_have_text(text)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Overloaded("nobody is free", retry_after=2), "All machines are busy"),
        (InsufficientCredits("user:ann has 0 credits"), "not enough credits"),
        (CompletionFailed("unreachable", "the worker was lost"), "The machine that was answering is gone"),
        (CompletionFailed("too_long", "too long"), "longer than the model can read"),
    ],
)
def test_errors_are_told_in_words_and_can_be_tried_again(
    browser: Browser, error: Exception, words: str
) -> None:
    browser.hub.desk.script = lambda ask: [error]
    browser.enter()
    browser.say("Hello")
    browser.expect(browser.page.get_by_role("alert")).to_contain_text(words)
    browser.hub.desk.script = lambda ask: said("Now it works.")
    browser.button("Try again").click()
    browser.expect(browser.answers.locator(".text")).to_have_text("Now it works.")
    browser.expect(browser.page.get_by_role("alert")).to_have_count(0)


def test_a_hub_that_is_gone_is_told_in_words(browser: Browser) -> None:
    browser.enter()
    browser.page.route("**/v1/**", lambda route: route.abort())
    browser.say("Hello")
    browser.expect(browser.page.get_by_role("alert")).to_contain_text("The hub cannot be reached")
    browser.expect(browser.page.get_by_label("Your message")).to_have_value("Hello")
    browser.page.unroute("**/v1/**")
    browser.ask("Hello", "Answer of small.")


def test_a_flagged_question_says_so(browser: Browser) -> None:
    browser.enter()
    browser.say("how do i build a bomb")
    browser.expect(browser.page.get_by_role("alert")).to_contain_text("was not sent to a model")
    browser.expect(browser.page.locator("article.question .note")).to_contain_text("Withheld")


def test_terms_are_chosen_and_hold_for_the_conversation(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    browser.button("Kept for you only").click()
    browser.picture("terms")
    browser.page.get_by_label("As above, and it may be published").check()
    browser.page.locator("#licence").select_option("CC-BY-4.0")
    browser.button("Save").click()
    browser.expect(browser.button("May be published, CC-BY-4.0")).to_be_visible()
    with browser.hub.client() as client:
        (one,) = client.get("/v1/community/conversations").json()["data"]
    assert (one["consent"], one["licence"]) == ("publish", "CC-BY-4.0")


def test_parameters_go_into_the_request_and_the_code(browser: Browser) -> None:
    browser.enter()
    browser.button("Parameters").click()
    browser.picture("parameters")
    browser.page.get_by_label("Temperature").fill("0.25")
    browser.page.get_by_label("Seed").fill("42")
    browser.page.get_by_label("System prompt").fill('Say "yes".')
    browser.page.get_by_label("Only machines of the operator").check()
    browser.button("Done").click()
    browser.ask("Well, isn't it?", "Answer of small.")
    ask = browser.hub.desk.asks[-1]
    assert (ask.request.temperature, ask.request.seed, ask.trusted) == (0.25, 42, True)
    assert (ask.request.messages or ())[0].content == 'Say "yes".'
    browser.button("View code").click()
    browser.picture("code")
    snippet = browser.page.locator("#snippet")
    source = snippet.inner_text()
    compile(source, "snippet", "exec")
    assert "temperature=0.25" in source
    assert "cw-ann" not in source
    browser.page.get_by_role("tab", name="curl").click()
    browser.expect(snippet).to_contain_text("isn'\\''t it?")


def test_a_conversation_is_deleted_after_a_question(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    browser.button("Delete").click()
    browser.button("Keep").click()
    browser.expect(browser.answers).to_have_count(1)
    browser.button("Delete").click()
    browser.page.locator("dialog[open]").get_by_role("button", name="Delete").click()
    browser.expect(browser.answers).to_have_count(0)
    browser.expect(browser.page.locator("#conversations button")).to_have_count(0)
    with browser.hub.client() as client:
        assert client.get("/v1/community/conversations").json()["data"] == []


def test_everything_can_be_taken_along_and_deleted(browser: Browser) -> None:
    browser.enter()
    browser.ask("Well?", "Answer of small.")
    browser.button("Your data and key").click()
    with browser.page.expect_download() as download:
        browser.button("Download everything").click()
    assert "Answer of small." in Path(download.value.path()).read_text()
    browser.button("Delete all my conversations").click()
    browser.page.locator("dialog#sure").get_by_role("button", name="Delete").click()
    browser.expect(browser.page.locator("#conversations button")).to_have_count(0)


def test_enter_sends_and_shift_enter_does_not(browser: Browser) -> None:
    browser.enter()
    browser.page.keyboard.type("one")
    browser.page.keyboard.press("Shift+Enter")
    browser.page.keyboard.type("two")
    assert browser.hub.desk.asks == []
    browser.page.keyboard.press("Enter")
    browser.expect(browser.page.locator(".measures")).to_be_visible()
    assert (browser.hub.desk.asks[0].request.messages or ())[0].content == "one\ntwo"


def test_no_inline_script_would_run(browser: Browser) -> None:
    response = browser.page.goto(f"{browser.hub.url}/chat")
    policy = response.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", response.text()) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_it_fits_and_can_be_read(chromium: Any, hub: CommunityHub, width: int, scheme: str) -> None:
    hub.desk.script = lambda ask: said(
        "A tensor is an array of numbers with any number of axes:\n\n- a **scalar** has none,\n- a *vector* has one,"
        "\n- a matrix has two.\n\n```python\nimport torch\nx = torch.zeros(2, 3, dtype=torch.float32, device='cpu')"
        "\n```\n\nSee https://pytorch.org/docs/stable/tensors.html for more.\n\nمرحبا بالعالم"
    )
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    browser = Browser(context, hub)
    browser.enter()
    browser.picture(f"empty-{width}-{scheme}")
    browser.say("What is a tensor, in short?")
    browser.expect(browser.page.locator(".measures")).to_be_visible()
    browser.picture(f"answer-{width}-{scheme}")
    assert browser.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.page.locator("#log").evaluate("log => log.scrollWidth <= log.clientWidth")
    assert browser.answers.locator(".text p").last.evaluate("p => getComputedStyle(p).direction") == "rtl"
    faint = browser.page.evaluate(CONTRAST)
    assert faint == []
    if width < 900:
        browser.button("Menu").click()
        browser.expect(browser.button("New conversation")).to_be_focused()
        browser.page.locator("#shelf").evaluate(
            "shelf => Promise.all(shelf.getAnimations().map(moving => moving.finished)).then(() => null)"
        )
        assert browser.page.locator("#shelf").bounding_box()["x"] == 0
        browser.picture(f"menu-{width}-{scheme}")
        browser.page.keyboard.press("Escape")
        browser.expect(browser.button("Menu")).to_be_focused()
    context.close()
    assert browser.troubles == []


CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.getElementById("room"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest(":disabled")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(`${node.tagName}: ${walker.currentNode.textContent.trim()}`);
  }
  return faint;
}"""


def test_motion_is_reduced_on_request(chromium: Any, hub: CommunityHub) -> None:
    gate = threading.Event()
    hub.desk.script = lambda ask: [gate, Piece(text="ok"), *said("then")]
    context = chromium.new_context(reduced_motion="reduce")
    browser = Browser(context, hub)
    browser.enter()
    browser.say("Hello")
    waiting = browser.page.locator(".waiting")
    browser.expect(waiting).to_be_visible()
    assert waiting.evaluate("node => getComputedStyle(node).animationName") == "none"
    gate.set()
    browser.expect(browser.page.locator(".measures")).to_be_visible()
    context.close()
