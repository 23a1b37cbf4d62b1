"""The literature commands: the host searches for papers and reads them, so that the sandbox needs no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from workbench.environment.services.addresses import BadAddress, Origin, parse
from workbench.environment.services.cache import DiskCache
from workbench.environment.services.desk import Refused, Reply, Request, Service
from workbench.environment.services.fetch import Fetcher, FetchError, Pacer
from workbench.environment.services.notes import clean
from workbench.environment.services.papers import (
    BadAnswer,
    Paper,
    arxiv_number,
    arxiv_search,
    described,
    merged,
    read_arxiv,
    read_scholar_paper,
    read_scholar_search,
    scholar_id,
    scholar_paper,
    scholar_search,
    search_words,
)
from workbench.environment.services.pdf import PdfText, UnreadablePdf, pdf_text
from workbench.session.secrets import cache_folder

SCHOLAR, ARXIV = "https://api.semanticscholar.org", "https://export.arxiv.org"
SCHOLAR_VARIABLE, ARXIV_VARIABLE = "MLGYM_SEMANTIC_SCHOLAR_URL", "MLGYM_ARXIV_URL"

INTERVALS = {"arxiv.org": 3.0, "semanticscholar.org": 1.0}
"""Seconds between two requests, as the two services ask for."""
PAPERS, MOST_PAPERS = 5, 20
PAGE_CHARACTERS = 10_000
QUERY_CHARACTERS = 300
SEARCH_AGE, PAPER_AGE = 7 * 86400.0, 30 * 86400.0
"""Seconds for which an answer is taken from the cache."""

_ANSWER_BYTES, _PDF_BYTES = 8 << 20, 50 << 20
_ANSWER_SECONDS, _PDF_SECONDS = 30.0, 60.0

LIBRARIES = frozenset(
    (
        "arxiv.org",
        "semanticscholar.org",
        "aclanthology.org",
        "openreview.net",
        "proceedings.mlr.press",
        "jmlr.org",
        "nips.cc",
        "neurips.cc",
        "openaccess.thecvf.com",
        "ecva.net",
    )
)
"""Hosts (with their subdomains) whose addresses an agent may name. With others it could send data to anyone."""


class _Found(msgspec.Struct, array_like=True):
    """What a search found, and who answered."""

    papers: list[Paper]
    sources: list[str]


class Literature:
    """Searches and reads papers for one session. `scholar` and `arxiv` are the addresses of the two services.

    Raises ValueError for one that cannot be used. `key` is sent to Semantic Scholar alone.
    """

    def __init__(
        self,
        *,
        scholar: str = "",
        arxiv: str = "",
        key: str = "",
        folder: Path | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._scholar, scholar_origin = _base(scholar, SCHOLAR_VARIABLE, SCHOLAR)
        self._arxiv, arxiv_origin = _base(arxiv, ARXIV_VARIABLE, ARXIV)
        folder = folder or cache_folder() / "literature"
        self._cache = DiskCache(folder)
        # A server that the user named may be anywhere; the usual ones are on the internet, or it is not them.
        named = {
            origin: interval
            for origin, usual, interval in (
                (scholar_origin, SCHOLAR, INTERVALS["semanticscholar.org"]),
                (arxiv_origin, ARXIV, INTERVALS["arxiv.org"]),
            )
            if f"{origin.scheme}://{origin}" != usual
        }
        self._trusted = tuple(named)
        intervals = {**INTERVALS, **{str(origin): interval for origin, interval in named.items()}}
        self._fetcher = Fetcher(pacer or Pacer(folder / "turns"), trusted=self._trusted, intervals=intervals)
        self._headers: Mapping[str, str] = {"x-api-key": key} if key else {}

    def services(self) -> dict[str, Service]:
        """The agent commands that it serves."""
        return {"literature_search": self.search, "literature_read": self.read}

    # -- searching ---------------------------------------------------------------------------------------------------

    async def search(self, request: Request) -> Reply:
        """Papers that match best."""
        query = " ".join(clean(request.query).split())
        if not search_words(query):
            raise Refused("the query holds no words")
        if len(query) > QUERY_CHARACTERS:
            raise Refused(f"the query has {len(query):,} characters; use at most {QUERY_CHARACTERS}")
        limit = min(request.number or PAPERS, MOST_PAPERS)
        key = f"search {self._scholar} {self._arxiv} {limit} {query.casefold()}"
        kept = await self._cache.get(key, _Found, SEARCH_AGE)
        if kept is not None:
            return _listed(query, kept.papers, kept.sources, [], cached=True)
        papers, sources, problems = await self._ask_both(query, limit)
        if not sources:
            raise Refused(f"no literature service can be reached now ({'; '.join(problems)}): go on without it")
        if not problems:
            await self._cache.put(key, _Found(papers, sources))
        for paper in papers:
            await self._remember(paper)
        return _listed(query, papers, sources, problems, cached=False)

    async def _ask_both(self, query: str, limit: int) -> tuple[list[Paper], list[str], list[str]]:
        """The papers, the services that answered, and what went wrong. arXiv is asked only if Semantic Scholar has too
        few.
        """
        papers: list[Paper] = []
        sources: list[str] = []
        problems: list[str] = []
        for name, ask in (("Semantic Scholar", self._ask_scholar), ("arXiv", self._ask_arxiv)):
            if len(papers) >= limit:
                break
            try:
                papers = merged(papers, await ask(query, limit))
                sources.append(name)
            except (FetchError, BadAnswer) as error:
                problems.append(f"{name}: {error}")
        return papers[:limit], sources, problems

    async def _ask_scholar(self, query: str, limit: int) -> list[Paper]:
        return read_scholar_search(await self._ask(scholar_search(self._scholar, query, limit), self._headers))

    async def _ask_arxiv(self, query: str, limit: int) -> list[Paper]:
        found = read_arxiv(await self._ask(arxiv_search(self._arxiv, query, limit, all_words=True)))
        if not found and len(search_words(query)) > 1:
            found = read_arxiv(await self._ask(arxiv_search(self._arxiv, query, limit, all_words=False)))
        return found

    async def _ask(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        return await self._fetcher.get(
            url, most=_ANSWER_BYTES, time_limit=_ANSWER_SECONDS, headers=headers, may_go=self._is_library
        )

    # -- reading -----------------------------------------------------------------------------------------------------

    async def read(self, request: Request) -> Reply:
        """One page of the text of a paper."""
        name = request.query.strip()
        number = arxiv_number(name)
        ident = scholar_id(name)
        if number:
            return await self._read_arxiv(number, request.number or 1)
        if ident:
            return await self._read_scholar(ident, request.number or 1)
        if name.lower().startswith(("http://", "https://")):
            return await self._read_link(name, request.number or 1)
        raise Refused(
            f"{clean(name)[:200]!r} is neither the id of a paper nor an address; literature_search shows ids such as "
            "arXiv:1706.03762"
        )

    async def _read_arxiv(self, number: str, page: int) -> Reply:
        return await self._read_pdf(f"arXiv:{number}", f"{self._arxiv}/pdf/{number}", page, self._is_library)

    async def _read_link(self, url: str, page: int) -> Reply:
        try:
            target = parse(url, self._trusted)
        except BadAddress as error:
            raise Refused(str(error)) from None
        if not self._is_library(target.origin.host):
            raise Refused(
                f"{target.origin} is not asked: only addresses of {', '.join(sorted(LIBRARIES))} are; a paper that "
                "literature_search shows can be read by its id, wherever it lies"
            )
        return await self._read_pdf(target.url, target.url, page, self._is_library)

    async def _read_scholar(self, ident: str, page: int) -> Reply:
        paper, cached = await self._look_up(ident)
        if paper.arxiv:
            return await self._read_arxiv(paper.arxiv, page)
        reason = "no copy of it is free to be read"
        if paper.pdf:
            try:
                return await self._read_pdf(paper.id, paper.pdf, page, lambda host: True)
            except Refused as error:
                reason = str(error)
        if page > 1:
            raise Refused(f"there is no page {page}: only the abstract can be read, because {reason}")
        text = f"{described(paper, abstract=20_000)}\n\n(Only the abstract can be read, because {reason}.)"
        return Reply(text, 1, "Semantic Scholar", cached=cached, message="abstract only")

    async def _look_up(self, ident: str) -> tuple[Paper, bool]:
        kept = await self._cache.get(self._paper_key(ident), Paper, PAPER_AGE)
        if kept is not None:
            return kept, True
        try:
            paper = read_scholar_paper(await self._ask(scholar_paper(self._scholar, ident), self._headers))
        except FetchError as error:
            if error.status == 404:
                raise Refused(f"Semantic Scholar knows no paper {ident}") from None
            raise Refused(f"Semantic Scholar cannot be asked now ({error}): go on without it") from None
        except BadAnswer as error:
            raise Refused(f"Semantic Scholar gave {error}: go on without it") from None
        await self._cache.put(self._paper_key(ident), paper)
        return paper, False

    async def _remember(self, paper: Paper) -> None:
        if paper.scholar:
            await self._cache.put(self._paper_key(paper.scholar), paper)

    def _paper_key(self, ident: str) -> str:
        return f"paper {self._scholar} {ident}"

    async def _read_pdf(self, name: str, url: str, page: int, may_go: Callable[[str], bool]) -> Reply:
        kept = await self._cache.get(f"text {url}", PdfText, PAPER_AGE)
        if kept is not None:
            return _page(name, kept, page, _host(url), cached=True)
        try:
            found = await self._fetcher.get(url, most=_PDF_BYTES, time_limit=_PDF_SECONDS, may_go=may_go)
            text = await pdf_text(found)
        except FetchError as error:
            why = f"there is no such paper ({error})" if error.status == 404 else str(error)
            raise Refused(f"{name} cannot be had: {why}") from None
        except UnreadablePdf as error:
            raise Refused(f"{name} cannot be read: {error}") from None
        await self._cache.put(f"text {url}", text)
        return _page(name, text, page, _host(url), cached=False)

    def _is_library(self, host: str) -> bool:
        return any(host == origin.host for origin in self._trusted) or any(
            host == each or host.endswith(f".{each}") for each in LIBRARIES
        )


def _base(given: str, variable: str, usual: str) -> tuple[str, Origin]:
    """The address of a service, without a slash at its end. Raises ValueError."""
    base = (given or os.environ.get(variable) or usual).rstrip("/")
    # Who names it may choose what is refused of agents: a private host, another port.
    try:
        split = urlsplit(base)
        port = split.port
    except ValueError:
        split, port = urlsplit(""), None
    if split.scheme not in ("http", "https") or not split.hostname or split.username or split.query or split.fragment:
        raise ValueError(f"{variable} is not an address like https://host:port, without a name, password or query")
    return base, Origin(split.scheme, split.hostname, port or {"http": 80, "https": 443}[split.scheme])


def _host(url: str) -> str:
    return url.split("/")[2]


def _listed(query: str, papers: list[Paper], sources: list[str], problems: list[str], *, cached: bool) -> Reply:
    source = " and ".join(sources)
    remark = "".join(f"\n({problem})" for problem in problems)
    if not papers:
        text = f"Nothing was found for {query!r} at {source}; try fewer or other words.{remark}"
        return Reply(text, source=source, cached=cached, ok=False, message="; ".join(problems))
    entries = [f"{number}. {described(paper)}" for number, paper in enumerate(papers, 1)]
    end = f"Found by {source}. To read one: literature_read {papers[0].id}{remark}"
    return Reply("\n\n".join([*entries, end]), len(papers), source, cached=cached, message="; ".join(problems))


def _page(name: str, text: PdfText, number: int, source: str, *, cached: bool) -> Reply:
    pages = paged(text)
    if number > len(pages):
        raise Refused(f"there is no page {number}: {name} has {len(pages)}")
    read = len(text.pages)
    extent = f"{text.total} PDF pages" + (f", of which {read} were read" if read < text.total else "")
    parts = [f"[{name}: page {number} of {len(pages)} ({extent})]", pages[number - 1]]
    if number < len(pages):
        parts.append(f"[Next: literature_read {name} {number + 1}]")
    return Reply("\n".join(parts), 1, source, cached=cached, message=f"page {number} of {len(pages)}")


def paged(text: PdfText) -> list[str]:
    """The text in pieces of about PAGE_CHARACTERS, cut at the end of a line where there is one."""
    whole = "\n".join(f"--- PDF page {number} ---\n{page.strip()}" for number, page in enumerate(text.pages, 1))
    pieces = []
    while len(whole) > PAGE_CHARACTERS:
        cut = whole.rfind("\n", PAGE_CHARACTERS // 2, PAGE_CHARACTERS) + 1 or PAGE_CHARACTERS
        pieces.append(whole[:cut].rstrip("\n"))
        whole = whole[cut:]
    return [*pieces, whole] if whole.strip() or not pieces else pieces
