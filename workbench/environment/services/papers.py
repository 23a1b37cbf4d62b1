"""Papers as Semantic Scholar and arXiv describe them. Answers of servers may have any form, and are checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import msgspec

from workbench.environment.services.notes import clean

FIELDS = "title,abstract,year,venue,authors,externalIds,citationCount,openAccessPdf"
ABSTRACT_CHARACTERS = 900
_ARXIV_NUMBER = r"(?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d{1,3})?"
_ARXIV = re.compile(rf"(?:arxiv:\s*)?({_ARXIV_NUMBER})", re.IGNORECASE)
_ARXIV_LINK = re.compile(rf"https?://(?:\w+\.)?arxiv\.org/(?:abs|pdf|html)/({_ARXIV_NUMBER})(?:\.pdf)?/?", re.I)
_SCHOLAR_LINK = re.compile(r"https?://(?:www\.)?semanticscholar\.org/paper/(?:[^/]+/)?([0-9a-f]{40})/?", re.IGNORECASE)
_DOI_LINK = re.compile(r"https?://(?:dx\.)?doi\.org/(10\.\d{4,9}/\S+)", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:\s*)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_SCHOLAR = re.compile(r"[0-9a-f]{40}|(?:CorpusId|ACL|PMID|PMCID|MAG):[A-Za-z0-9.-]{1,60}", re.IGNORECASE)
_ATOM = {"a": "http://www.w3.org/2005/Atom", "arxiv": "http://arxiv.org/schemas/atom"}
_WORD = re.compile(r"[^\W_]+")


class BadAnswer(Exception):
    """A server's answer does not have the expected form. `str()` says how."""


class Paper(msgspec.Struct, frozen=True, kw_only=True):
    """One paper."""

    title: str
    authors: list[str] = []
    year: int | None = None
    venue: str = ""
    abstract: str = ""
    citations: int | None = None
    arxiv: str = ""
    """Its number there, without a version."""
    doi: str = ""
    scholar: str = ""
    """Its id at Semantic Scholar."""
    pdf: str = ""
    """Address of a freely available PDF."""

    @property
    def id(self) -> str:
        """The id that `literature_read` takes."""
        if self.arxiv:
            return f"arXiv:{self.arxiv}"
        return self.scholar or f"DOI:{self.doi}"

    @property
    def readable(self) -> bool:
        """Whether its text is available."""
        return bool(self.arxiv or self.pdf)

    def same(self, other: Paper) -> bool:
        """Whether two descriptions are of one paper."""
        if self.arxiv and other.arxiv:
            return self.arxiv == other.arxiv
        return _WORD.findall(self.title.casefold()) == _WORD.findall(other.title.casefold())


def described(paper: Paper, *, abstract: int = ABSTRACT_CHARACTERS) -> str:
    """A paper in a few lines, for an agent."""
    year = str(paper.year) if paper.year else ""
    cited = "" if paper.citations is None else f"cited {paper.citations:,} times"
    facts = ", ".join(fact for fact in (year, paper.venue, cited) if fact)
    names = ", ".join(paper.authors[:4]) + (f" and {len(paper.authors) - 4} more" if len(paper.authors) > 4 else "")
    text = paper.abstract[:abstract].rstrip() + ("…" if len(paper.abstract) > abstract else "")
    lines = [
        paper.title + (f" ({facts})" if facts else ""),
        names,
        f"id: {paper.id}" + ("" if paper.readable else " (only its abstract can be read)"),
        text,
    ]
    return "\n".join(line for line in lines if line)


def merged(*lists: Iterable[Paper]) -> list[Paper]:
    """The papers without duplicates; the first description of a paper counts."""
    found: list[Paper] = []
    for papers in lists:
        for paper in papers:
            if not any(paper.same(other) for other in found):
                found.append(paper)
    return found


def arxiv_number(text: str) -> str:
    """The arXiv number in an id or address; empty where there is none."""
    match = _ARXIV.fullmatch(text) or _ARXIV_LINK.fullmatch(text)
    return match[1] if match else ""


def scholar_id(text: str) -> str:
    """The id that Semantic Scholar knows for an id or address; empty where there is none."""
    if match := _SCHOLAR.fullmatch(text):
        return match[0]
    if match := _SCHOLAR_LINK.fullmatch(text):
        return match[1]
    match = _DOI_LINK.fullmatch(text) or _DOI.fullmatch(text)
    return f"DOI:{match[1]}" if match else ""


# -- Semantic Scholar --------------------------------------------------------------------------------------------------


def scholar_search(base: str, query: str, limit: int) -> str:
    """The address that answers a search. A hyphen makes it find nothing."""
    asked = {"query": query.replace("-", " "), "limit": limit, "fields": FIELDS}
    return f"{base}/graph/v1/paper/search?{urlencode(asked)}"


def scholar_paper(base: str, ident: str) -> str:
    """The address that answers with one paper."""
    return f"{base}/graph/v1/paper/{quote(ident, safe=':')}?{urlencode({'fields': FIELDS})}"


def read_scholar_search(body: bytes) -> list[Paper]:
    """The papers in an answer. Raises BadAnswer."""
    answer = _json(body)
    data = answer.get("data") or []
    if not isinstance(data, list):
        raise BadAnswer("an answer without a list of papers")
    return [_scholar(item) for item in data if isinstance(item, dict) and _text(item, "title")]


def read_scholar_paper(body: bytes) -> Paper:
    """The paper in an answer. Raises BadAnswer."""
    answer = _json(body)
    if not _text(answer, "title"):
        raise BadAnswer("an answer without a paper")
    return _scholar(answer)


def _json(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("an answer that is not JSON") from None
    if not isinstance(answer, dict):
        raise BadAnswer("an answer that is no JSON object")
    return answer


def _scholar(item: dict[str, Any]) -> Paper:
    authors = item.get("authors")
    authors = authors if isinstance(authors, list) else []
    names = [_text(author, "name") for author in authors if isinstance(author, dict)]
    ids = item.get("externalIds")
    ids = ids if isinstance(ids, dict) else {}
    link = item.get("openAccessPdf")
    return Paper(
        title=_text(item, "title"),
        authors=[name for name in names if name][:100],
        year=_number(item.get("year")),
        venue=_text(item, "venue"),
        abstract=_text(item, "abstract"),
        citations=_number(item.get("citationCount")),
        arxiv=arxiv_number(_text(ids, "ArXiv")),
        doi=_text(ids, "DOI")[:200],
        scholar=scholar_id(_text(item, "paperId")),
        pdf=_text(link, "url")[:2000] if isinstance(link, dict) else "",
    )


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name)
    return " ".join(clean(value[:20_000]).split()) if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


# -- arXiv -------------------------------------------------------------------------------------------------------------


def arxiv_search(base: str, query: str, limit: int, *, all_words: bool) -> str:
    """The address that answers a search for papers with all of the words, or with any of them."""
    terms = (" AND " if all_words else " OR ").join(f"all:{word}" for word in search_words(query))
    asked = {"search_query": terms, "start": 0, "max_results": limit, "sortBy": "relevance", "sortOrder": "descending"}
    return f"{base}/api/query?{urlencode(asked)}"


def search_words(query: str) -> list[str]:
    """The words of a query; what means something in arXiv's language is left out."""
    words = [word for word in _WORD.findall(query) if word.upper() not in ("AND", "OR", "ANDNOT")]
    return list(dict.fromkeys(words))[:12]


def read_arxiv(body: bytes) -> list[Paper]:
    """The papers in an Atom feed. Raises BadAnswer."""
    text = body.decode("utf-8", "replace")
    unfolds = "<!DOCTYPE" in text or "<!ENTITY" in text  # entities may stand for gigabytes
    try:
        feed = None if unfolds else ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError):
        feed = None
    if feed is None or not feed.tag.endswith("}feed"):
        raise BadAnswer("an answer that is no Atom feed")
    papers = []
    for entry in feed.iterfind("a:entry", _ATOM):
        if "/api/errors" in _part(entry, "a:id"):
            raise BadAnswer(f"it refuses the query: {_part(entry, 'a:summary')[:200]}")
        number = arxiv_number(_part(entry, "a:id"))
        if not number or not _part(entry, "a:title"):
            continue
        year = _part(entry, "a:published")[:4]
        papers.append(
            Paper(
                title=_part(entry, "a:title"),
                authors=[_part(author, "a:name") for author in entry.iterfind("a:author", _ATOM)][:100],
                year=int(year) if year.isascii() and year.isdigit() else None,
                venue=_part(entry, "arxiv:journal_ref")[:200] or "arXiv",
                abstract=_part(entry, "a:summary"),
                arxiv=re.sub(r"v\d+$", "", number),
                doi=_part(entry, "arxiv:doi")[:200],
            )
        )
    return papers


def _part(element: ElementTree.Element, name: str) -> str:
    return " ".join(clean((element.findtext(name, "", _ATOM) or "")[:20_000]).split())
