"""Searching and reading papers, against a local server that speaks the protocols."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.environment.services.library import CLOSED, TRANSFORMER, Answer, Library, make_pdf, open_library, refusal
from workbench.environment.services import literature as module
from workbench.environment.services.desk import Refused, Reply, Request
from workbench.environment.services.fetch import Pacer
from workbench.environment.services.literature import PAGE_CHARACTERS, Literature, paged
from workbench.environment.services.pdf import PdfText, UnreadablePdf, pdf_text

ASKER = ("session", 1, "model:x")
KEY = "a-key-for-semantic-scholar"


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += seconds
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    async with open_library() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(library: Library, clock: Clock, tmp_path: Path) -> Literature:
    return open_shelf(library, clock, tmp_path)


def open_shelf(library: Library, clock: Clock, folder: Path) -> Literature:
    pacer = Pacer(folder / "turns", now=clock.now, sleep=clock.sleep)
    return Literature(scholar=library.url, arxiv=f"{library.url}/", key=KEY, folder=folder, pacer=pacer)


async def search(shelf: Literature, query: str, number: int | None = None) -> Reply:
    return await shelf.search(Request(query, number, *ASKER))


async def read(shelf: Literature, name: str, page: int | None = None) -> Reply:
    return await shelf.read(Request(name, page, *ASKER))


def cached(folder: Path) -> list[Path]:
    """The answers that were kept."""
    return sorted(folder.glob("*.json"))


# -- searching ---------------------------------------------------------------------------------------------------------


async def test_both_are_asked_and_a_paper_is_listed_once(library: Library, shelf: Literature) -> None:
    reply = await search(shelf, "pre-trained Transformer")
    assert (reply.results, reply.source, reply.cached, reply.ok) == (4, "Semantic Scholar and arXiv", False, True)
    assert (
        "1. Attention is All you Need (2017, Neural Information Processing Systems, cited 123,456 times)" in reply.text
    )
    assert "A. Vaswani, N. Shazeer\nid: arXiv:1706.03762\n" in reply.text
    assert f"id: {CLOSED}\n" in reply.text and "id: arXiv:hep-th/9901001\n" in reply.text
    assert reply.text.count("1706.03762\n") == 1 and "Strings & learning" in reply.text
    assert "\x1b" not in reply.text and "attention ^[[31malone" in reply.text
    assert reply.text.endswith("To read one: literature_read arXiv:1706.03762")


async def test_arxiv_is_not_asked_for_what_semantic_scholar_has(library: Library, shelf: Literature) -> None:
    reply = await search(shelf, "transformer", 2)
    assert (reply.results, reply.source) == (2, "Semantic Scholar") and library.paths("/api") == []


async def test_an_answer_is_kept_for_a_week(library: Library, shelf: Literature, clock: Clock, tmp_path: Path) -> None:
    first = await search(shelf, "transformer", 2)
    again = await search(open_shelf(library, clock, tmp_path), "Transformer", 2)
    assert again.cached and again.text == first.text and len(library.asked) == 1
    old = time.time() - module.SEARCH_AGE - 60
    for file in cached(tmp_path):
        os.utime(file, (old, old))
    assert not (await search(shelf, "transformer", 2)).cached and len(library.asked) == 2


async def test_a_damaged_cache_is_an_empty_one(library: Library, shelf: Literature, tmp_path: Path) -> None:
    await search(shelf, "transformer", 2)
    for number, file in enumerate(cached(tmp_path)):
        file.write_bytes([b"\xff{", b'["x", 3]', b"[" * 100_000][number % 3])
    assert not (await search(shelf, "transformer", 2)).cached


async def test_nothing_found(library: Library, shelf: Literature) -> None:
    reply = await search(shelf, "zzz yyy")
    assert not reply.ok and "Nothing was found for 'zzz yyy' at Semantic Scholar and arXiv" in reply.text
    assert [path.count("AND") for path in library.paths("/api")] == [1, 0], "then for any of the words"


@pytest.mark.parametrize("query", ["", " ", "?!", "x" * 301, "AND or"])
async def test_queries_that_ask_for_nothing(library: Library, shelf: Literature, query: str) -> None:
    with pytest.raises(Refused, match="the query"):
        await search(shelf, query)
    assert library.asked == []


async def test_the_key_goes_to_semantic_scholar_alone(library: Library, shelf: Literature) -> None:
    await search(shelf, "transformer")
    await read(shelf, "arXiv:1706.03762")
    keys = {path.split("?")[0]: headers.get("x-api-key") for path, headers in zip(library.asked, library.headers)}  # noqa: B905
    assert keys == {"/graph/v1/paper/search": KEY, "/api/query": None, "/pdf/1706.03762": None}


# -- busy, slow and absent servers -------------------------------------------------------------------------------------


async def test_arxiv_is_asked_every_three_seconds_semantic_scholar_every_second(
    library: Library, tmp_path: Path, clock: Clock
) -> None:
    async with open_library() as other:
        pacer = Pacer(tmp_path / "turns", now=clock.now, sleep=clock.sleep)
        shelf = Literature(scholar=library.url, arxiv=other.url, folder=tmp_path, pacer=pacer)
        for query in ("learning", "learning more", "learning even more"):
            await search(shelf, query)
    # Semantic Scholar is asked at 0, 1 and 3 s: before that, each query has to wait for arXiv, at 0, 3 and 6 s.
    assert sum(clock.slept) == pytest.approx(6.0)


async def test_processes_share_the_turns(tmp_path: Path, clock: Clock) -> None:
    pacers = [Pacer(tmp_path, now=clock.now, sleep=clock.sleep) for _ in range(3)]
    began = clock.time
    for pacer in pacers:
        await pacer.turn("arxiv.org", 3.0)
    assert clock.time - began == pytest.approx(6.0)
    (tmp_path / "arxiv.org").write_text(str(clock.time + 1e6))  # of a clock that went wrong
    await pacers[0].turn("arxiv.org", 3.0)
    assert clock.time - began == pytest.approx(6.0)


async def test_a_busy_server_is_asked_again(library: Library, shelf: Literature, clock: Clock) -> None:
    library.script["/graph"] = [refusal(429, Retry_After="7"), refusal(503), Answer(b'{"total": 0}')]
    reply = await search(shelf, "learning")
    assert reply.source == "Semantic Scholar and arXiv" and len(library.paths("/graph")) == 3
    assert 7.0 in clock.slept and sum(clock.slept) < 25


@pytest.mark.parametrize("header", ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_one_that_is_busy_for_long_is_done_without(library: Library, shelf: Literature, header: str) -> None:
    library.script["/graph"] = [refusal(429, Retry_After=header)]
    reply = await search(shelf, "learning")
    assert reply.source == "arXiv" and reply.results == 3 and len(library.paths("/graph")) == 1
    assert "(Semantic Scholar: 127.0.0.1:" in reply.text and "too many requests" in reply.message
    assert not (await search(shelf, "learning")).cached, "half an answer is not kept"


@pytest.mark.parametrize("header", ["", "soon", "-1", "\u0661", "9" * 400])
async def test_strange_pauses_are_ours(library: Library, shelf: Literature, clock: Clock, header: str) -> None:
    library.script["/graph"] = [refusal(500, **({"Retry_After": header} if header else {}))]
    reply = await search(shelf, "learning")
    assert reply.source == "arXiv" and len(library.paths("/graph")) == 4 and sum(clock.slept) < 20


async def test_no_network_is_one_sentence(tmp_path: Path, clock: Clock) -> None:
    pacer = Pacer(tmp_path / "turns", now=clock.now, sleep=clock.sleep)
    nobody = Literature(scholar="http://127.0.0.1:9", arxiv="http://127.0.0.1:9", folder=tmp_path, pacer=pacer)
    with pytest.raises(Refused) as refused:
        await search(nobody, "learning")
    assert str(refused.value).startswith(
        "no literature service can be reached now (Semantic Scholar: 127.0.0.1:9 cannot"
    )
    assert str(refused.value).endswith("go on without it") and "\n" not in str(refused.value)


BROKEN = [
    pytest.param(Answer(b"<!doctype html><title>Sign in</title>", content_type="text/html"), id="page"),
    pytest.param(Answer(b""), id="nothing"),
    pytest.param(Answer(b"\xff\xfe\x00"), id="garbage"),
    pytest.param(Answer(b"[" * 200_000), id="deep"),
    pytest.param(Answer(b'{"data": {"x": 1}}'), id="no list"),
    pytest.param(Answer(b'{"data": [', length=1000), id="cut"),
    pytest.param(Answer(b"{" + b" " * (9 << 20)), id="large"),
    pytest.param(Answer(b"{}", headers={"Content-Encoding": "gzip"}), id="encoded"),
    pytest.param(Answer(b"", 302, {"Location": "/graph/again"}), id="circle"),
    pytest.param(Answer(b"", 302, {"Location": "http://10.0.0.1/"}), id="private"),
    pytest.param(Answer(b"", 302, {"Location": "https://example.com/"}), id="elsewhere"),
    pytest.param(Answer(b"", 302, {"Location": "file:///etc/passwd"}), id="file"),
    pytest.param(
        Answer(
            b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><feed xmlns="http://www.w3.org/2005/Atom"/>'
        ),
        id="entities",
    ),
]


@pytest.mark.parametrize("answer", BROKEN)
async def test_a_server_that_says_anything_is_done_without(library: Library, shelf: Literature, answer: Answer) -> None:
    library.script["/graph"] = library.script["/api"] = [answer]
    with pytest.raises(Refused, match="no literature service can be reached now"):
        await search(shelf, "learning")
    library.script = {"/graph": [answer]}
    assert (await search(shelf, "learning")).source == "arXiv"


@pytest.mark.parametrize(
    "item",
    [{}, {"title": 3}, {"title": "t", "authors": 3, "year": "x", "externalIds": [], "openAccessPdf": 1}, None, "x"],
)
async def test_papers_of_any_form(library: Library, shelf: Literature, item: object) -> None:
    import json

    library.script["/graph"] = [Answer(json.dumps({"data": [item]}).encode())]
    assert (await search(shelf, "learning")).ok


async def test_a_silent_server_is_given_up_and_a_cancelled_request_ends(
    library: Library, shelf: Literature, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.script["/graph"] = [Answer(b"{", length=100, hold=True)]
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    assert "not done within" in (await search(shelf, "learning")).message
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 60)
    library.held.clear()
    asking = asyncio.ensure_future(search(shelf, "learning again"))
    await library.held.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


# -- reading -----------------------------------------------------------------------------------------------------------


async def test_a_paper_by_any_of_its_names(library: Library, shelf: Literature) -> None:
    for name in (
        "arXiv:1706.03762",
        "1706.03762v5",
        "https://arxiv.org/abs/1706.03762",
        "http://www.arxiv.org/pdf/1706.03762.pdf",
        TRANSFORMER,
        f"https://www.semanticscholar.org/paper/Attention/{TRANSFORMER}",
        "DOI:10.5555/x",
        "https://doi.org/10.5555/x",
    ):
        reply = await read(shelf, name)
        assert reply.text.startswith("[arXiv:1706.03762") and "the dominant models are recurrent" in reply.text
        assert (reply.results, reply.ok, reply.message) == (1, True, "page 1 of 2")
    assert len(library.paths("/pdf/")) == 2, "the other names are of the same text"


async def test_page_by_page_without_asking_again(library: Library, shelf: Literature) -> None:
    first = await read(shelf, "arXiv:1706.03762")
    asked = len(library.asked)
    last = await read(shelf, "arXiv:1706.03762", 2)
    assert "[Next: literature_read arXiv:1706.03762 2]" in first.text and "Next" not in last.text
    assert "(3 PDF pages)" in first.text and "References" in last.text
    assert last.cached and len(library.asked) == asked
    numbers = [int(line.split()[1]) for line in (first.text + last.text).split("\n") if line.startswith("Line ")]
    assert numbers == list(range(300)), "no line is lost or shown twice"
    with pytest.raises(Refused, match=r"there is no page 3: arXiv:1706\.03762 has 2"):
        await read(shelf, "arXiv:1706.03762", 3)


async def test_what_is_not_free_is_read_as_its_abstract(library: Library, shelf: Literature) -> None:
    reply = await read(shelf, CLOSED)
    assert "Only this can be read." in reply.text and "Only the abstract can be read, because" in reply.text
    with pytest.raises(Refused, match="no page 2"):
        await read(shelf, CLOSED, 2)


async def test_a_link_of_semantic_scholar_is_followed(library: Library, shelf: Literature) -> None:
    library.script["/wall.pdf"] = [Answer(b"", 302, {"Location": "/free/attention.pdf"})]
    assert "recurrent" in (await read(shelf, CLOSED)).text


@pytest.mark.parametrize("place", ["http://169.254.169.254/latest/", "http://localhost/", "http://[::1]/", "http://a/"])
async def test_but_not_to_a_private_place(library: Library, shelf: Literature, place: str) -> None:
    library.script["/wall.pdf"] = [Answer(b"", 302, {"Location": place})]
    reply = await read(shelf, CLOSED)
    assert "is not a public host" in reply.text and "Only this can be read." in reply.text


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("something", "neither the id of a paper nor an address"),
        ("", "neither"),
        ("https://example.com/?stolen=data", "example.com is not asked"),
        ("https://arxiv.org.example.com/x.pdf", "is not asked"),
        ("https://arxiv.org@example.com/x.pdf", "name or password"),
        ("http://127.0.0.1:1/x.pdf", "port 1 is not asked"),
        ("https://arxiv.org:8443/x.pdf", "port 8443 is not asked"),
        ("http://2130706433/x.pdf", "not a public host"),
        ("https://arxiv.org/a b", "blanks"),
        ("https://", "no proper host"),
        ("arXiv:9999.99999", "there is no such paper"),
        ("b" * 40, "knows no paper"),
    ],
)
async def test_what_is_not_read(library: Library, shelf: Literature, name: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        await read(shelf, name)


# -- PDFs --------------------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A page whose content unfolds to half a gigabyte."""
    import zlib

    packer, blanks, check = zlib.compressobj(9, wbits=-15), b" " * (1 << 20), 1
    piece = packer.compress(blanks) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(512):
        check = zlib.adler32(blanks, check)
    content = b"\x78\xda" + 512 * piece + packer.flush() + check.to_bytes(4, "big")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(content), content),
    ]
    return document(objects)


def document(objects: list[bytes]) -> bytes:
    data, places = b"%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return (
        data + head + table + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    )


def own_parent() -> bytes:
    """A page tree that contains itself."""
    return document([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 99999999>>"])


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (bytes, "not a PDF"),
        (lambda: b"<html><title>Sign in", "a web page"),
        (lambda: b"%PDF-1.7\ngarbage", "damaged"),
        (lambda: make_pdf("secret", password="x"), "password"),
        (lambda: make_pdf("cut here")[:300], "damaged|no text"),
        (lambda: make_pdf(""), "no text"),
        (own_parent, "damaged|no text|too much"),
        (bomb, "no text|too much"),
    ],
    ids=["empty", "page", "garbage", "password", "cut", "picture", "circle", "bomb"],
)
async def test_hostile_documents_are_refused_in_time(made: Callable[[], bytes], says: str) -> None:
    data = made()
    began = time.monotonic()
    with pytest.raises(UnreadablePdf, match=says):
        await pdf_text(data, time_limit=20)
    assert time.monotonic() - began < 25


async def test_a_document_that_takes_for_ever_is_given_up() -> None:
    with pytest.raises(UnreadablePdf, match=r"more than 0 s"):
        await pdf_text(make_pdf("x"), time_limit=0.01)


async def test_the_reading_process_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/nonexistent")
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    text = await pdf_text(make_pdf("one\ntwo", "three"))
    assert text.total == 2 and [page.split() for page in text.pages] == [["one", "two"], ["three"]]


def test_long_lines_are_cut_and_nothing_is_lost() -> None:
    text = PdfText(["x" * (3 * PAGE_CHARACTERS), "end"], 2)
    pages = paged(text)
    assert max(map(len, pages)) <= PAGE_CHARACTERS and "".join(pages).count("x") == 3 * PAGE_CHARACTERS
    assert pages[-1].endswith("end") and paged(PdfText([], 0)) == [""]


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ftp://x", "http://", "https://me:secret@host", "https://h/?key=1", "http://h:99999"])
def test_services_that_cannot_be_asked_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    monkeypatch.setenv("MLGYM_ARXIV_URL", url)
    with pytest.raises(ValueError, match="MLGYM_ARXIV_URL is not an address") as error:
        Literature(folder=tmp_path)
    assert "secret" not in str(error.value)


async def test_the_proxy_of_the_user_is_used(
    library: Library, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", library.url.replace("http://", "http://me:pass%20word@"))
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    library.script["/via-proxy/http://papers.example.org/graph/"] = [Answer(b'{"total": 0}')]
    pacer = Pacer(tmp_path / "turns", now=clock.now, sleep=clock.sleep)
    shelf = Literature(
        scholar="http://papers.example.org", arxiv="http://papers.example.org", folder=tmp_path, pacer=pacer
    )
    reply = await search(shelf, "learning")
    assert reply.source == "Semantic Scholar" and library.headers[0]["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    assert library.headers[0]["host"] == "papers.example.org"
