"""Pages as text and in a headless browser, for the tests of every page that the package writes."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
]
QUIET = [
    *ARGUMENTS,
    "--headless",
    "--disable-quic",
    "--no-first-run",
    "--enable-logging=stderr",
    "--window-size=1280,800",
]


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def opened(page: Path, folder: Path) -> Page:
    """The page as a headless browser has it after all its scripts, which may say nothing on the console."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, f"--user-data-dir={folder}", "--dump-dom"]
    answer = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    said = [line for line in answer.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    return Page(answer.stdout)
