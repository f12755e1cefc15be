"""The page of `soundalike review` in a real browser, with the command as a process that can be killed."""

from __future__ import annotations

import csv
import http.server
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import ARGUMENTS, CHROMIUM
from soundalike.apps.review.labels import LabelFile
from soundalike.apps.review.sounds import items_of

pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

SAMPLE = Path(__file__).parents[1] / "data" / "free-spoken-digit-dataset" / "recordings"
SCRIPT = "0_<script>document.title='gone'<!--.wav"
WAIT = 60_000  # milliseconds, for a machine with more to do


class Program:
    """A running `soundalike review`, of which the tests of this file share one."""

    def __init__(self, *arguments: object) -> None:
        self.command = [sys.executable, "-m", "soundalike", "review", *map(str, arguments)]
        self.start()

    def start(self, *more: object) -> None:
        """Starts it, and waits until it says where its page is."""
        self.process = subprocess.Popen(
            [*self.command, *map(str, more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.communicate()[1]

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Exit code, and what it said on stderr."""
        self.process.send_signal(how)
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of four digits, one with a name that would be a script, and a file that is no audio."""
    root = tmp_path_factory.mktemp("review") / "sounds"
    (root / "theo").mkdir(parents=True)
    for number in range(4):
        for file in sorted(SAMPLE.glob(f"{number}_*.wav"))[:8]:
            shutil.copy(file, root / "theo" / file.name)
    shutil.copy(next(SAMPLE.glob("0_*.wav")), root / SCRIPT)
    (root / "broken.wav").write_text("no sound")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def program(folder: Path, run: Path) -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDALIKE_CACHE", str(folder.parent / "cache"))
        started = Program(folder, "--with", run)
        yield started
        code, told = started.end(signal.SIGINT)
    assert code == 1  # one file is broken
    assert " labels\n" in told
    assert "left out" in told
    assert "broken.wav" in told


def watched(browser: Any, said: list[str]) -> Any:
    """A page whose console, errors and dialogs are heard."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.set_default_timeout(WAIT)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append("dialog"))
    return page


def quiet(said: list[str]) -> bool:
    """Whether a page said nothing but that the file that is no audio cannot be shown."""
    return [text for text in said if "status of 422" not in text] == []


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def labelled(page: Any, count: str) -> None:
    """Waits until the page knows of so many labels, a regular expression."""
    expect(page.locator("html")).to_have_attribute("data-labelled", re.compile(f"^{count}$"), timeout=WAIT)


def label_one(page: Any, known: list[str]) -> None:
    """Labels the sound that is shown with its digit, by a key or as a new class."""
    name = page.inner_text("#name")
    label = f"digit {name[0]}"
    if name == "broken.wav":
        page.keyboard.press("0")
    elif label in known:
        page.keyboard.press(str(known.index(label) + 1))
    else:
        known.append(label)
        page.keyboard.press("n")
        page.keyboard.type(label)
        page.keyboard.press("Enter")
    expect(page.locator("#name")).not_to_have_text(name)


def test_label_by_keys_reload_kill_and_go_on(folder: Path, program: Program, browser: Any) -> None:
    said: list[str] = []
    page = watched(browser, said)
    page.goto(program.address)
    page.wait_for_selector("#list li")
    page.click("[data-order=random]")
    known: list[str] = []
    for _ in range(12):
        label_one(page, known)
    labelled(page, "12")
    page.reload()
    page.wait_for_selector("#list li")
    for _ in range(8):
        last = page.inner_text("#name")
        label_one(page, known)
    labelled(page, "20")
    expect(page.locator("html")).to_have_attribute("data-learned", re.compile("19|20"), timeout=WAIT)
    assert "%" in page.inner_text("#panel .figure b")
    page.keyboard.press("u")  # undo brings the last sound back
    labelled(page, "19")
    expect(page.locator("#name")).to_have_text(last)
    before = rows(folder)
    assert len(before) == 19
    assert page.inner_text("#name") not in {Path(row["path"]).name for row in before}
    page.keyboard.press(" ")
    page.wait_for_selector(".picture.playing")
    page.keyboard.press(" ")
    page.wait_for_selector(".picture:not(.playing)")
    assert quiet(said)
    program.end(signal.SIGKILL)
    page.wait_for_selector("#notice:not([hidden])")
    assert "The program has stopped" in page.inner_text("#notice")
    page.close()
    assert rows(folder) == before
    program.start("--by", "bob")
    page = watched(browser, said := [])
    page.goto(program.address)
    page.wait_for_selector("#list li")
    labelled(page, "19")
    listed = page.locator("#panel .classes bdi").all_inner_texts()
    assert sorted(listed[:-1]) == sorted(known)
    # many at once: those that are most like this one
    page.keyboard.press("s")
    expect(page.locator("#list-name")).to_have_text("Most like this one", timeout=WAIT)
    page.keyboard.press("a")
    page.keyboard.press("1")
    labelled(page, "(2[6-9]|3.)")
    assert [row for row in rows(folder) if row["by"] != "bob"] == before
    page.keyboard.press("u")
    labelled(page, "19")
    guess = page.inner_text("#list li[aria-current] .told bdi")
    page.keyboard.press("Enter")  # as the classifier takes it
    labelled(page, "20")
    assert (rows(folder)[-1]["by"], rows(folder)[-1]["label"]) == ("bob", guess)
    page.keyboard.press("u")
    labelled(page, "19")
    page.click("#save")
    page.wait_for_selector("#notice.good:has-text('--with')")
    assert (folder / "labels.safetensors").stat().st_size > 1000
    assert quiet(said)
    page.close()


def test_a_name_is_a_name(folder: Path, program: Program, browser: Any) -> None:
    said: list[str] = []
    page = watched(browser, said)
    page.goto(program.address)
    page.wait_for_selector("#list li")
    page.click(
        f"[data-order={'labelled' if folder / SCRIPT in LabelFile(folder / 'labels.csv').read() else 'random'}]"
    )
    page.locator("#list li", has_text="<script>").click()
    assert page.inner_text("#name") == SCRIPT
    page.keyboard.press("n")
    page.keyboard.type("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    expect(page.locator("#panel .classes")).to_contain_text("<img src=x onerror=alert(1)>", timeout=WAIT)
    assert page.title() == "sounds: review"
    assert page.locator("img, main script").count() == 0
    # nothing of another place, nothing within the page, whoever would have put it there
    refused = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.violatedDirective));
            const made = document.createElement("script");
            made.textContent = "document.title = 'gone'";
            document.head.append(made);
        })"""
    )
    assert refused == "script-src-elem"
    assert page.title() == "sounds: review"
    assert quiet([text for text in said if "Content Security Policy" not in text])


HOSTILE = """<!doctype html><title>hostile</title><script>
const asked = [], given = new URLSearchParams(location.search), target = given.get("target");
function ask(what, promise) { asked.push(promise.then(() => what + " answered", () => what + " refused")); }
const body = JSON.stringify({changes: [{key: given.get("key"), label: "evil", before: null}]});
ask("read", fetch(target + "queue").then(answer => answer.text()));
ask("json", fetch(target + "labels", {method: "POST", body, headers: {"Content-Type": "application/json"}}));
fetch(target + "labels", {method: "POST", mode: "no-cors", body}).catch(() => {});
const script = document.createElement("script");
asked.push(new Promise(done => {
  script.onload = () => done("script answered");
  script.onerror = () => done("script refused");
}));
script.src = target + "elements.js";
script.type = "module";
document.head.append(script);
const frame = document.createElement("iframe");
frame.src = target;
document.documentElement.append(frame);
Promise.all(asked).then(said => { document.title = said.join(", "); });
</script>"""


def test_a_hostile_page_in_another_tab_that_knows_the_address(folder: Path, program: Program, browser: Any) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(HOSTILE.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    table, sounds = LabelFile(folder / "labels.csv"), items_of(folder)[0]
    before = table.read()
    sound = next(item.key for item in sounds if item.sound not in before)
    try:
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/?target={program.address}&key={sound}")
        page.wait_for_function("document.title !== 'hostile'", timeout=WAIT)
        assert page.title() == "read refused, json refused, script refused"
        page.wait_for_timeout(300)
        assert table.read() == before
    finally:
        server.shutdown()
        server.server_close()
