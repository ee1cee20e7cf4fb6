"""The page at / of a running sidecar in a real Chromium: dead letters are settled there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import one_value
from tests.support.sidecar import Sidecar, wait_until

TOKEN = "a token of some length"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SHOWN_MS = 60_000
# Pictures to look at stay where this names a folder.
PICTURES = os.environ.get("CDC_TAIL_TEST_PICTURES")


@pytest.fixture
def browser() -> Iterator[Browser]:
    installed = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    program = next(filter(None, installed), None)  # None: what `playwright install` brought
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield started
        started.close()


@pytest.fixture
def space(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node())
    made.session.execute("CREATE TABLE orders (k int PRIMARY KEY, v text) WITH cdc = true")
    return made


@pytest.fixture
def sidecar(space: Keyspace, database: str, tmp_path: Path) -> Iterator[Sidecar]:
    settings = {
        "mirror.include": f"{space.name}.*",
        "watch.keep_segments": True,
        "http.token": TOKEN,
    }
    with Sidecar(space.node, database, tmp_path, settings=settings) as running:
        yield running.wait_live()


def opened(browser: Browser, sidecar: Sidecar, size: dict[str, int], problems: list[str]) -> Page:
    """The page in a window of that size; what is wrong with it comes into `problems`."""
    page = browser.new_page(viewport={"width": size["width"], "height": size["height"]})

    def told(message: ConsoleMessage) -> None:
        # Chromium tells 401 (no token yet) and 409 (refused again) as errors of its own.
        if message.type == "error" and not re.search("status of (401|409)", message.text):
            problems.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((sidecar.url, "data:")):
            problems.append(request.url)

    page.on("console", told)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", asked)
    page.goto(sidecar.url)
    expect(page.locator("#state")).to_have_text("live", timeout=SHOWN_MS)
    return page


def picture(page: Page, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def test_dead_letters_are_settled_on_the_page(
    browser: Browser, sidecar: Sidecar, space: Keyspace, database: str
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(
            f"ALTER TABLE {space.name}.orders ADD CONSTRAINT small CHECK (k < 100)".encode()
        )
    for k in (1, 101, 102, 103):
        space.session.execute("INSERT INTO orders (k, v) VALUES (%s, 'x')", (k,))
    letters = "SELECT count(*) FROM cdc_tail.dead_letter"
    wait_until(lambda: one_value(database, letters) == 3, sidecar)
    problems: list[str] = []

    page = opened(browser, sidecar, PHONE, problems)
    section = page.locator("#letters")
    expect(section).to_contain_text("shown with the token only", timeout=SHOWN_MS)
    section.locator("input").fill("no token at all, or is it")
    section.get_by_role("button", name="Use token").click()
    expect(section).to_contain_text("That is not the token")
    section.locator("input").fill(TOKEN)
    section.get_by_role("button", name="Use token").click()
    expect(section.locator("tr")).to_have_count(3, timeout=SHOWN_MS)
    expect(section.locator("tr").first).to_contain_text(f"{space.name}.orders")
    expect(section.locator("form")).to_be_hidden()
    picture(page, "phone")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")

    # What PostgreSQL still refuses stays, and the page says why.
    section.locator("tr").first.get_by_role("button", name="retry").click()
    expect(section.locator("p")).to_contain_text("refused", timeout=SHOWN_MS)
    expect(section.locator("tr")).to_have_count(3)
    with psycopg.connect(database) as connection:
        connection.execute(f"ALTER TABLE {space.name}.orders DROP CONSTRAINT small".encode())
    section.locator("tr").first.get_by_role("button", name="retry").click()
    expect(section.locator("p")).to_contain_text("applied", timeout=SHOWN_MS)
    expect(section.locator("tr")).to_have_count(2)
    assert one_value(database, f"SELECT v FROM {space.name}.orders WHERE k = 101") == "x"

    # Giving up asks first.
    page.once("dialog", lambda dialog: dialog.dismiss())
    section.locator("tr").first.get_by_role("button", name="discard").click()
    expect(section.locator("tr")).to_have_count(2)
    page.once("dialog", lambda dialog: dialog.accept())
    section.locator("tr").first.get_by_role("button", name="discard").click()
    expect(section.locator("p")).to_contain_text("discarded", timeout=SHOWN_MS)
    expect(section.locator("tr")).to_have_count(1)
    assert one_value(database, f"{letters} WHERE state = 'discarded'") == 1

    page = opened(browser, sidecar, DESKTOP, problems)
    expect(page.locator("#letters form")).to_be_visible(timeout=SHOWN_MS)  # another tab's token
    page.locator("#letters input").fill(TOKEN)
    page.locator("#letters").get_by_role("button", name="Use token").click()
    expect(page.locator("#letters tr")).to_have_count(1, timeout=SHOWN_MS)
    expect(page.locator("#tables")).to_contain_text(f"{space.name}.orders")
    expect(page.locator("#stages")).to_contain_text("commit log")
    tile = page.locator(".tile", has_text="dead letters")
    expect(tile.locator("b")).to_have_text("1", timeout=SHOWN_MS)
    picture(page, "desktop")
    assert problems == []

    # What a process said that has ended is not taken for the state of now.
    sidecar.stop()
    expect(page.locator("#state")).to_have_text("no answer", timeout=SHOWN_MS)
    expect(page.locator("#fresh")).to_contain_text("what it said last")
