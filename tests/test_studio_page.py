"""The page of `soundalike studio` in a real browser, with the command as a process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from browser import ARGUMENTS, CHROMIUM
from soundalike.model.recipe import Recipe

pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

WAIT = 60_000  # milliseconds, for a machine with more to do


@pytest.fixture
def address() -> Iterator[str]:
    """Of a running `soundalike studio`, which has to end on Ctrl-C without a word of errors."""
    command = [sys.executable, "-m", "soundalike", "studio", "--voice", "texture", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line.startswith("http://127.0.0.1:"), process.communicate()[1]
    yield line
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert said == "Open this address in a browser on this machine. Ctrl-C ends.\n"


@pytest.fixture
def page() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        opened.set_default_timeout(WAIT)
        yield opened
        browser.close()


def rendered(page: Any, version: int) -> None:
    """Waits until the page shows the answer to its newest question."""
    expect(page.locator("html")).to_have_attribute("data-rendered", str(version), timeout=WAIT)


def saved(page: Any, link: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.click(link)
    file = folder / started.value.suggested_filename
    started.value.save_as(file)
    return file


def test_turn_a_knob_draw_a_patch_play_and_export(address: str, page: Any, tmp_path: Path) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    rendered(page, 1)
    drawn = page.locator("figure[data-sound=a] canvas").get_attribute("data-drawn")

    # a knob, by keys: what it says, what is asked for, and back
    knob = page.locator("[id='knob-grains.tonal']")
    value = page.locator(".knob", has=knob).locator("output")
    before = value.inner_text()
    knob.focus()
    page.keyboard.press("End")
    rendered(page, 2)
    expect(value).to_have_text("100 %")
    assert "moved" in page.locator(".knob", has=knob).get_attribute("class")
    assert page.locator("figure[data-sound=a] canvas").get_attribute("data-drawn") != drawn
    page.keyboard.press("Backspace")
    rendered(page, 3)
    expect(value).to_have_text(before)

    # δ of a group, anew and as a number
    page.locator("details[data-group=kind] .delta button").click()
    rendered(page, 4)
    expect(page.locator("details[data-group=kind] .within")).to_have_text("new")
    page.keyboard.press("u")
    rendered(page, 5)
    expect(page.locator("details[data-group=kind] .within")).to_have_text("same")

    # a random patch, kept over a reload
    seed = page.input_value("#seed")
    page.keyboard.press("r")
    rendered(page, 6)
    expect(page.locator("#seed")).not_to_have_value(seed)
    seed = page.input_value("#seed")
    page.reload()
    rendered(page, 1)
    expect(page.locator("#seed")).to_have_value(seed)

    page.keyboard.press(" ")
    page.wait_for_selector("figure[data-sound=a].playing")
    page.wait_for_selector("figure[data-sound=b].playing")
    page.keyboard.press(" ")
    expect(page.locator(".playing")).to_have_count(0)

    for link, view in (("#save-a", "A"), ("#save-b", "B")):
        file = saved(page, link, tmp_path)
        assert file.name == f"texture-{seed}-{view}.wav"
        assert soundfile.info(file).duration == 1.0
    recipe = Recipe.load(saved(page, "#save-recipe", tmp_path))
    assert (recipe.sections["voice"]["name"], recipe.training.seed) == ("texture", int(seed))

    expect(page.locator("html")).to_have_attribute("data-row", re.compile("1"), timeout=WAIT)
    assert len(page.locator("#row .similarity").all_inner_texts()) == 6
    assert all(re.fullmatch(r"−?\d\.\d\d", text) for text in page.locator("#row .similarity").all_inner_texts())
    page.keyboard.press("6")
    page.wait_for_selector("#row li:nth-child(6).playing")
    assert said == []
