"""The operator's dialogs of the chat page in a real Chromium: training on feedback, and the review queue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from improving_world import IDEAL, World, improving_world
from test_chat_in_a_browser import CHROMIUM, CONTRAST, Browser, chromium
from test_community_asking import answer, begin

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.web.chat import router

__all__ = ["chromium"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]


@pytest.fixture
def world(database: Database, blobs: Blobs) -> Iterator[World]:
    with improving_world(database, blobs, pages=[router]) as world:
        yield world


@pytest.fixture
def browser(chromium: Any, world: World) -> Iterator[Browser]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    browser = Browser(context, world.hub)
    yield browser
    context.close()
    assert browser.troubles == []
    assert [u for u in browser.requests if not u.startswith((world.hub.url, "blob:"))] == []


def open_dialog(browser: Browser, name: str, *, narrow: bool = False) -> Any:
    browser.enter("cw-op")
    if narrow:
        browser.button("Menu").click()
    browser.page.get_by_role("button", name=re.compile(f"^{name}")).click()
    dialog = browser.page.locator("dialog[open]")
    browser.expect(dialog).to_be_visible()
    return dialog


def open_one(world: World) -> str:
    with world.operator() as operator:
        return str(operator.get("/v1/community/improvements").json()["data"][0]["id"])


def test_only_an_operator_sees_them(browser: Browser) -> None:
    browser.enter("cw-ann")
    browser.expect(browser.page.locator("#open-improve")).to_be_hidden()
    browser.expect(browser.page.locator("#open-review")).to_be_hidden()


def test_train_on_feedback_and_see_it_promoted(browser: Browser, world: World) -> None:
    dialog = open_dialog(browser, "Improve a model")
    browser.expect(dialog.locator("#guards li")).to_have_count(2)
    dialog.get_by_label("Search scenarios").fill("yes no")
    browser.expect(dialog.locator("#guards li")).to_have_count(1)
    dialog.get_by_label("Search scenarios").fill("sums")
    dialog.get_by_label("Addition").check()
    dialog.get_by_label("Instances of each guard").fill("20")
    browser.expect(dialog.locator("#guards-chosen")).to_have_text("Chosen: addition")
    dialog.get_by_role("button", name="Train on feedback").click()
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Queued")
    browser.expect(dialog.get_by_role("button", name="Train on feedback")).to_be_disabled()
    id = open_one(world)
    world.drive(id)
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Training")
    world.finish(id)
    browser.expect(dialog.locator(".stages .end")).to_have_text("Promoted")
    browser.expect(dialog.locator(".verdict")).to_contain_text("Promoted: feedback/")
    rows = dialog.locator(".measures-table tbody tr")
    browser.expect(rows).to_have_count(3)
    told = rows.filter(has_text="feedback/sft")
    browser.expect(told).to_contain_text("Better")
    browser.expect(told).to_contain_text("+1.000")
    browser.expect(rows.filter(has_text="addition")).to_contain_text("n = 20")
    dialog.get_by_text("20 pieces of feedback went in").click()
    browser.expect(dialog.locator(".manifest")).to_contain_text('"by_kind"')
    dialog.get_by_text("What was said").click()
    browser.expect(dialog.locator(".lines")).to_contain_text("addition was easy")
    browser.expect(dialog.locator("#improvements li")).to_have_count(1)
    browser.expect(
        browser.page.locator("#model option", has_text=re.compile(r"^ft:small:feedback:\w+$"))
    ).to_have_count(1)
    browser.expect(dialog.get_by_role("button", name="Train on feedback")).to_be_enabled()


def test_a_refusal_and_a_failure_say_why(browser: Browser, world: World) -> None:
    world.guards.gain = -0.25
    world.finish(world.begin(guards=["addition"], instances=20)["id"])
    world.drive(world.begin(fewest=5000)["id"])
    dialog = open_dialog(browser, "Improve a model")
    dialog.locator("#improvements button").nth(1).click()
    browser.expect(dialog.locator(".verdict.refused")).to_contain_text(
        "Refused: worse beyond noise on addition"
    )
    browser.expect(dialog.locator(".outcome.worse")).to_have_text("Worse")
    dialog.locator("#improvements button").nth(0).click()
    browser.expect(dialog.locator("#improvement .problem")).to_contain_text(
        "At least 5000 of one kind are needed"
    )


def test_one_that_is_under_way_is_found_again_and_cancelled(browser: Browser, world: World) -> None:
    id = world.begin()["id"]
    world.drive(id)
    dialog = open_dialog(browser, "Improve a model")
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Training")
    dialog.get_by_role("button", name="Cancel it").click()
    sure = browser.page.locator("dialog#sure")
    sure.get_by_role("button", name="Go on").click()
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Training")
    dialog.get_by_role("button", name="Cancel it").click()
    sure.get_by_role("button", name="Cancel it").click()
    browser.expect(dialog.locator(".stages .end")).to_have_text("Cancelled")
    assert world.look(id)["state"] == "cancelled"


def test_what_the_hub_refuses_is_told_and_can_be_tried_again(browser: Browser, world: World) -> None:
    dialog = open_dialog(browser, "Improve a model")
    browser.expect(dialog.locator("#guards li")).to_have_count(2)
    world.drive(world.begin()["id"])
    dialog.get_by_role("button", name="Train on feedback").click()
    browser.expect(dialog.locator("#improve-problem")).to_contain_text("is under way")
    browser.expect(dialog.get_by_role("button", name="Train on feedback")).to_be_enabled()


def wait_for_review(world: World) -> None:
    """One of each kind, by somebody whose edits are still read."""
    with world.hub.client("cw-bob") as bob:
        conversation = begin(bob, consent="improve")
        first = answer(bob, conversation, "Which of the two tides is the higher one?")
        sent = {"content": f"{IDEAL}the spring tide, {first['content']}", "comment": "It should say which."}
        assert bob.put(f"/v1/community/messages/{first['id']}/ideal", json=sent).status_code == 200
        world.clock.sleep(60)
        second = answer(bob, conversation, "And why?", parent=first["id"])
        sent = {"content": "Since sun and moon pull together.\u202e <b>Bold</b>"}
        assert bob.put(f"/v1/community/messages/{second['id']}/ideal", json=sent).status_code == 200


def test_the_queue_is_worked_through_by_keyboard(browser: Browser, world: World) -> None:
    wait_for_review(world)
    dialog = open_dialog(browser, "Review")
    browser.expect(dialog.locator("article")).to_have_count(2)
    browser.expect(dialog.get_by_role("tab", selected=True)).to_have_text("Waiting (2)")
    first = dialog.locator("article").first
    browser.expect(first.locator(".edit ins").first).to_contain_text("Ideally:")
    browser.expect(first).to_contain_text("It should say which.")
    browser.expect(first).to_contain_text("more to be accepted before an edit")
    browser.expect(dialog.locator("article").nth(1).locator(".hidden-character")).to_have_text("⟨U+202E⟩")
    first.get_by_role("button", name="Accept").focus()
    browser.page.keyboard.press("Enter")
    browser.expect(dialog.locator("article")).to_have_count(1)
    browser.expect(dialog.get_by_role("tab", selected=True)).to_have_text("Waiting (1)")
    browser.expect(dialog.locator("article").get_by_role("button", name="Accept")).to_be_focused()
    browser.page.keyboard.press("Tab")
    browser.page.keyboard.press("Enter")
    browser.expect(dialog.get_by_role("alert").last).to_have_text("A refusal needs a reason.")
    browser.page.keyboard.type("It is not true.")
    browser.page.keyboard.press("Tab")
    browser.page.keyboard.press("Tab")
    browser.page.keyboard.press("Enter")
    browser.expect(dialog).to_contain_text("Nothing waits for you.")
    dialog.get_by_role("tab", name="Waiting").focus()
    browser.page.keyboard.press("ArrowRight")
    browser.page.keyboard.press("ArrowRight")
    browser.expect(dialog.get_by_role("tab", selected=True)).to_have_text("Refused (1)")
    browser.expect(dialog.locator("article")).to_contain_text("Refused by operator: It is not true.")
    browser.page.keyboard.press("Escape")
    browser.expect(dialog).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_they_fit_and_can_be_read(chromium: Any, world: World, width: int, scheme: str) -> None:
    wait_for_review(world)
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    browser = Browser(context, world.hub)
    dialog = open_dialog(browser, "Improve a model", narrow=width < 900)
    browser.expect(dialog.locator("#guards li")).to_have_count(2)
    dialog.get_by_label("BoolQ").check()
    dialog.get_by_label("Addition").check()
    browser.picture(f"improve-{width}-{scheme}")
    check(browser)
    dialog.get_by_role("button", name="Train on feedback").click()
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Queued")
    id = open_one(world)
    world.drive(id)
    browser.expect(dialog.locator("[aria-current=step]")).to_have_text("Training")
    browser.picture(f"training-{width}-{scheme}")
    check(browser)
    world.finish(id)
    browser.expect(dialog.locator(".stages .end")).to_have_text("Promoted")
    dialog.get_by_text("What was said").click()
    dialog.locator("#improvement").evaluate("part => part.scrollIntoView({block: 'start'})")
    browser.picture(f"promoted-{width}-{scheme}")
    check(browser)
    browser.button("Close").click()
    if width < 900:
        browser.button("Menu").click()
    browser.page.get_by_role("button", name=re.compile("^Review")).click()
    browser.expect(browser.page.locator("article.review")).to_have_count(2)
    browser.picture(f"review-{width}-{scheme}")
    check(browser)
    context.close()
    assert browser.troubles == []


def check(browser: Browser) -> None:
    page = browser.page
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("dialog[open]").evaluate("one => one.scrollWidth <= one.clientWidth")
    assert (
        page.evaluate(
            CONTRAST.replace('document.getElementById("room")', 'document.querySelector("dialog[open]")')
        )
        == []
    )
