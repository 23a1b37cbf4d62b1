"""A local server that speaks the protocols of Semantic Scholar and arXiv, and hands out PDFs, good and hostile."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

TRANSFORMER = "204e3073870fae3d05bcbc2f6a8e263d9b72e776"
CLOSED = "c" * 40


def make_pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with these texts."""
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(612, 792)
        font = {"/Type": NameObject("/Font"), "/Subtype": NameObject("/Type1"), "/BaseFont": NameObject("/Helvetica")}
        fonts = DictionaryObject({NameObject("/F1"): DictionaryObject({NameObject(k): v for k, v in font.items()})})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        shown = "".join(f"({line}) Tj T* " for line in text.split("\n"))
        stream.set_data(f"BT /F1 8 Tf 10 TL 50 780 Td {shown}ET".encode())
        page[NameObject("/Contents")] = stream
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    data = io.BytesIO()
    writer.write(data)
    return data.getvalue()


PAPER = make_pdf(
    "Attention Is All You Need\nAbstract: the dominant models are recurrent.",
    "\n".join(f"Line {number} of the method, with warmup steps 4000." for number in range(300)),
    "References",
)


@dataclass
class Answer:
    """What the server says."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    length: int | None = None
    """What it says of the body's length, where that is not true."""
    hold: bool = False
    """The body never comes."""


def refusal(status: int, **headers: str) -> Answer:
    """A failure."""
    return Answer(b'{"message": "no"}', status, {name.replace("_", "-"): value for name, value in headers.items()})


class Library:
    """Papers, by address. `script` goes before: by the beginning of a path, answers that are given once, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        """Paths, in order, with their queries."""
        self.headers: list[dict[str, str]] = []
        self.script: dict[str, list[Answer]] = {}
        self.held = asyncio.Event()

    def paths(self, start: str) -> list[str]:
        """What was asked for below a path."""
        return [path for path in self.asked if path.startswith(start)]

    def answer(self, target: str) -> Answer:
        """What is said to a request."""
        for start, answers in self.script.items():
            if target.startswith(start) and answers:
                return answers.pop(0) if len(answers) > 1 else answers[0]
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if path == "/graph/v1/paper/search":
            return self.scholar_search(query)
        if path.startswith("/graph/v1/paper/"):
            return self.scholar_paper(path.removeprefix("/graph/v1/paper/"))
        if path == "/api/query":
            return self.arxiv_search(query)
        if path in ("/pdf/1706.03762", "/pdf/1706.03762v5", "/free/attention.pdf"):
            return Answer(PAPER, content_type="application/pdf")
        return refusal(404)

    def papers(self) -> list[dict[str, object]]:
        """What Semantic Scholar knows."""
        return [
            {
                "paperId": TRANSFORMER,
                "title": "Attention is All you Need",
                "abstract": "We propose the Transformer,\nbased on attention \x1b[31malone\x1b[0m.",
                "year": 2017,
                "venue": "Neural Information Processing Systems",
                "authors": [{"authorId": str(n), "name": name} for n, name in enumerate(("A. Vaswani", "N. Shazeer"))],
                "externalIds": {"ArXiv": "1706.03762", "DOI": "10.5555/x", "CorpusId": 13756489},
                "citationCount": 123456,
                "openAccessPdf": None,
            },
            {
                "paperId": CLOSED,
                "title": "A transformer behind a wall",
                "abstract": "Only this can be read.",
                "year": None,
                "venue": "",
                "authors": [],
                "externalIds": {"DOI": "10.1000/182"},
                "citationCount": 0,
                "openAccessPdf": {"url": f"{self.url}/wall.pdf", "status": "BRONZE"},
            },
        ]

    def scholar_search(self, query: Mapping[str, str]) -> Answer:
        """The relevance search: words without operators; a word with a hyphen finds nothing."""
        word = query["query"].casefold()
        found = [paper for paper in self.papers() if "transformer" in word and "-" not in word]
        found = found[: int(query["limit"])]
        body: dict[str, object] = {"total": len(found), "offset": 0}
        return Answer(json.dumps(body | ({"data": found} if found else {})).encode())

    def scholar_paper(self, ident: str) -> Answer:
        """One paper, by its id."""
        for paper in self.papers():
            ids = paper["externalIds"]
            assert isinstance(ids, dict)
            if ident == paper["paperId"] or ident.casefold() == f"doi:{ids['DOI']}".casefold():
                return Answer(json.dumps(paper).encode())
        return Answer(b'{"error": "Paper with id ... not found"}', 404)

    def arxiv_search(self, query: Mapping[str, str]) -> Answer:
        """The Atom feed of a query."""
        terms = query["search_query"]
        some = "zzz" not in terms and ("AND" not in terms or "all:learning" in terms)
        entries = [
            ("http://arxiv.org/abs/1706.03762v7", "Attention Is All\n  You Need", "2017-06-12T17:57:34Z"),
            ("http://arxiv.org/abs/hep-th/9901001v2", "Strings & learning", "1999-01-01T00:00:00Z"),
            ("http://arxiv.org/abs/2010.11929v2", "An Image is Worth 16x16 Words", "2020-10-22T17:55:59Z"),
        ]
        feed = "".join(
            f"<entry><id>{ident}</id><title>{escape(title)}</title><published>{date}</published>"
            f"<summary>About {escape(title)}.</summary><author><name>Somebody</name></author>"
            f'<link title="pdf" href="{ident.replace("abs", "pdf")}"/></entry>'
            for ident, title, date in (entries if some else [])
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">{feed}</feed>'
        return Answer(body.encode(), content_type="application/atom+xml")

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            target = first.split()[1]
            if target.startswith("http://"):  # we are asked as a proxy
                target = f"/via-proxy/{target}"
            self.asked.append(target)
            self.headers.append({name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)})
            answer = self.answer(target)
            length = len(answer.body) if answer.length is None else answer.length
            fields = {"Content-Type": answer.content_type, "Content-Length": str(length), **answer.headers}
            named = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"HTTP/1.1 {answer.status} Said\r\n{named}\r\n".encode() + answer.body)
            await writer.drain()
            if answer.hold:
                self.held.set()
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def open_library(tls: ssl.SSLContext | None = None) -> AsyncIterator[Library]:
    """A library on a free port of this machine."""
    library = Library()
    listener = await asyncio.start_server(library.handle, "127.0.0.1", 0, ssl=tls)
    library.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield library
    finally:
        listener.close()
