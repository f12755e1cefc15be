"""One file from a server on this machine: whole, broken off, changed, refused."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from local_server import Served, Server, refusal, serving
from soundalike.data.download.fetch import fetch

BODY = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(monkeypatch) as served:
        yield served


def part(archive: Path) -> bytes:
    return archive.with_name(f"{archive.name}.part").read_bytes()


@pytest.mark.parametrize("checksum", [None, f"sha256:{SHA256}", f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_a_file_comes_whole_and_is_verified(server: Server, tmp_path: Path, checksum: str | None) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    started: list[tuple[int | None, int]] = []
    shown: list[int] = []
    begin = lambda total, done: started.append((total, done))  # noqa: E731
    assert fetch(server.address(), tmp_path / "a", checksum, len(BODY), start=begin, show=shown.append) == SHA256
    assert part(tmp_path / "a") == BODY
    assert started == [(len(BODY), 0)]
    assert shown == sorted(shown)
    assert shown[-1] == len(BODY)


def test_compression_that_a_server_claims_is_not_undone(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, headers={"Content-Encoding": "gzip"})
    assert fetch(server.address(), tmp_path / "a", f"sha256:{SHA256}") == SHA256


def test_a_broken_connection_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, cuts=[300_000, 250_000])
    said: list[str] = []
    assert fetch(server.address(), tmp_path / "a", f"sha256:{SHA256}", say=said.append) == SHA256
    ranges = [asked for _, asked in server.asked]
    assert ranges[0] is None
    begins = [int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) for asked in ranges[1:] if asked]  # type: ignore[index]
    assert len(begins) == 2
    # at most one block of what had been sent is asked for again
    assert 300_000 - (1 << 16) <= begins[0] <= 300_000
    assert server.sent == [300_000, 250_000, len(BODY) - begins[1]]
    assert len(said) == 2


def test_more_breaks_than_pauses_are_survived_where_each_brings_more(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, cuts=[140_000] * 7)
    assert fetch(server.address(), tmp_path / "a", f"sha256:{SHA256}") == SHA256
    assert len(server.asked) == 8


def test_an_interrupted_download_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)

    def interrupt(done: int) -> None:
        if done >= 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server.address(), tmp_path / "a", None, show=interrupt)
    there = len(part(tmp_path / "a"))
    assert 400_000 <= there < len(BODY)
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert server.asked[1] == ("/a.tar.gz", f"bytes={there}-")
    assert server.conditions == [None, '"one"']
    assert server.sent[1] == len(BODY) - there


def test_the_date_serves_where_the_tag_is_weak(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, etag='W/"x"', modified="Tue, 01 Aug 2017 00:00:00 GMT", cuts=[300_000])
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert server.sent[1] < len(BODY)
    assert server.conditions == [None, "Tue, 01 Aug 2017 00:00:00 GMT"]


def test_what_is_whole_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    fetch(server.address(), tmp_path / "a", None)
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert len(server.asked) == 1


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("shorter", [0, 900_000])
def test_a_file_that_has_changed_begins_anew(server: Server, tmp_path: Path, heeds: bool, shorter: int) -> None:
    server.files["/a.tar.gz"] = Served(BODY, cuts=[300_000])
    refused = lambda done: (_ for _ in ()).throw(KeyboardInterrupt) if done > 200_000 else None  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        fetch(server.address(), tmp_path / "a", None, show=refused)
    changed = BODY[::-1][shorter:]
    server.files["/a.tar.gz"] = Served(changed, etag='"two"', heeds_if_range=heeds)
    assert fetch(server.address(), tmp_path / "a", None) == hashlib.sha256(changed).hexdigest()
    assert part(tmp_path / "a") == changed


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, ranges=False, cuts=[300_000])
    assert fetch(server.address(), tmp_path / "a", f"sha256:{SHA256}") == SHA256
    assert server.sent == [300_000, len(BODY)]


def test_without_any_validator_and_checksum_nothing_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    (tmp_path / "a.part").write_bytes(b"something else")
    (tmp_path / "a.part.json").write_text(json.dumps({"address": server.address(), "total": len(BODY)}))
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert server.asked == [("/a.tar.gz", None)]


@pytest.mark.parametrize("notes", ["", "[]", "{", '{"address": "http://127.0.0.1/other", "etag": "\\"one\\""}'])
def test_a_part_of_unknown_origin_is_dropped(server: Server, tmp_path: Path, notes: str) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    (tmp_path / "a.part").write_bytes(b"something else")
    (tmp_path / "a.part.json").write_text(notes)
    assert fetch(server.address(), tmp_path / "a", f"sha256:{SHA256}") == SHA256


def test_a_part_as_long_as_the_file_is_whole(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    (tmp_path / "a.part").write_bytes(BODY)
    (tmp_path / "a.part.json").write_text(json.dumps({"address": server.address(), "etag": '"one"'}))
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert server.asked == [("/a.tar.gz", f"bytes={len(BODY)}-")]  # answered with 416
    assert not server.sent


def test_a_server_that_does_not_know_the_length(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, length=False)
    started: list[tuple[int | None, int]] = []
    fetch(server.address(), tmp_path / "a", None, start=lambda total, done: started.append((total, done)))
    assert started == [(None, 0)]
    assert part(tmp_path / "a") == BODY


def test_a_connection_that_always_breaks_at_the_same_place_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, ranges=False, cuts=[300_000] * 20)
    sentence = refusal(fetch, server.address(), tmp_path / "a", f"sha256:{SHA256}")
    assert "the same command goes on" in sentence
    assert len(server.asked) == 4  # one more than there are pauses


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sentence = refusal(fetch, f"http://127.0.0.1:{taken.getsockname()[1]}/a", tmp_path / "a", None)
    assert "cannot be reached" in sentence
    assert "try again later" in sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [403, 404, 410, 418])
def test_a_refusal_is_not_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    server.files["/a.tar.gz"] = Served(BODY, statuses=[status])
    assert str(status) in refusal(fetch, server.address(), tmp_path / "a", None)
    assert len(server.asked) == 1
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_server_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, statuses=[500, 503])
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    server.files["/a.tar.gz"] = Served(BODY, statuses=[500] * 9)
    assert "500" in refusal(fetch, server.address(), tmp_path / "b", None)


def test_another_file_than_the_published_one_is_deleted(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    published = "0" * 64
    sentence = refusal(fetch, server.address(), tmp_path / "a", f"sha256:{published}")
    assert published in sentence
    assert SHA256 in sentence
    assert not list(tmp_path.iterdir())


def test_another_length_is_refused_before_anything_comes(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY)
    assert str(len(BODY)) in refusal(fetch, server.address(), tmp_path / "a", None, 17)
    assert not list(tmp_path.iterdir())


def test_a_stream_without_end_is_ended(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(BODY, length=False)
    assert "far longer" in refusal(fetch, server.address(), tmp_path / "a", None, None, 200_000)
    assert not list(tmp_path.iterdir())


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(b"", location="/b")
    server.files["/b"] = Served(BODY, cuts=[300_000])
    assert fetch(server.address(), tmp_path / "a", None) == SHA256
    assert [path for path, _ in server.asked] == ["/a.tar.gz", "/b"] * 2


def test_redirects_in_a_circle_and_to_no_address(server: Server, tmp_path: Path) -> None:
    server.files["/a.tar.gz"] = Served(b"", location="/a.tar.gz")
    assert "ever more" in refusal(fetch, server.address(), tmp_path / "a", None)
    server.files["/a.tar.gz"] = Served(b"", location="file:///etc/passwd")
    assert "not an address" in refusal(fetch, server.address(), tmp_path / "a", None)


def test_encryption_is_not_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import requests

    asked = []

    def answer(session: object, address: str, **_: object) -> requests.Response:
        asked.append(address)
        response = requests.Response()
        response.status_code, response.headers["Location"] = 302, "http://example.org/a"
        response.raw = io.BytesIO()
        return response

    monkeypatch.setattr(requests.Session, "get", answer)
    assert "not encrypted" in refusal(fetch, "https://example.org/a", tmp_path / "a", None)
    assert asked == ["https://example.org/a"]


@pytest.mark.parametrize("address", ["", "esc50", "ftp://example.org/a", "file:///a", "http://", "http://[::1"])
def test_what_is_no_address(tmp_path: Path, address: str) -> None:
    assert "not an address" in refusal(fetch, address, tmp_path / "a", None)
