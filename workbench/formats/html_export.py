"""Sessions as one page that needs nothing else: steps, file windows, scores, a search; for day, night and paper.

Nothing of a session is markup: every text is escaped, nothing is loaded, and the policy of the page lets only the one
script run whose hash it names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from html import escape
from pathlib import Path

from workbench.formats.md_export import facts, notes_by_step, outcome, shortened
from workbench.session.events import WindowChanged
from workbench.session.objects import ObjectStore
from workbench.session.recording import Recording
from workbench.session.state import SessionState, Step, fold
from workbench.text import number, visible

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--line:#d0d7de;--box:#f6f8fa;--good:#1a7f37;
--bad:#b42318;--mark:#0969da}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--dim:#9198a1;--line:#30363d;--box:#161b22;
--good:#3fb950;--bad:#ff7b72;--mark:#58a6ff}}
*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif}h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--dim)}dd{margin:0;
overflow-wrap:anywhere}pre{background:var(--box);border:1px solid var(--line);border-radius:6px;padding:.6rem;
margin:.4rem 0;overflow:auto;max-height:32rem;white-space:pre-wrap;overflow-wrap:anywhere;
font:13px/1.45 ui-monospace,monospace}
article{border-top:1px solid var(--line);padding:.8rem 0}article>header{color:var(--dim);display:flex;gap:1rem;
flex-wrap:wrap}article>header b{color:var(--fg)}.action{border-left:3px solid var(--mark)}.bad{color:var(--bad)}
.score{color:var(--good);font-weight:600}.thought{white-space:pre-wrap;overflow-wrap:anywhere}summary{cursor:pointer;
color:var(--dim)}#find{position:sticky;top:0;background:var(--bg);padding:.5rem 0;
display:flex;gap:1rem;align-items:center}
input{font:inherit;padding:.3rem .6rem;width:24rem;max-width:100%}svg{width:100%;height:auto;max-height:18rem}
svg text{fill:var(--dim);font-size:11px}.hidden{display:none}
@media print{#find{display:none}pre{max-height:none}body{max-width:none;padding:0}article{break-inside:auto}}
"""
_SCRIPT = """
const box=document.getElementById('search'),said=document.getElementById('found');
const steps=[...document.querySelectorAll('article')];
const texts=steps.map(step=>step.textContent.toLowerCase());
box.addEventListener('input',()=>{const word=box.value.toLowerCase();let n=0;
steps.forEach((step,i)=>{const hit=!word||texts[i].includes(word);step.classList.toggle('hidden',!hit);n+=hit});
said.textContent=word?n+' of '+steps.length+' steps':''});
addEventListener('keydown',event=>{if(event.key==='/'&&document.activeElement!==box){event.preventDefault();box.focus()}
else if(event.key==='Escape'){box.value='';box.dispatchEvent(new Event('input'))}});
if(location.hash.startsWith('#find=')){box.value=decodeURIComponent(location.hash.slice(6));
box.dispatchEvent(new Event('input'))}
addEventListener('beforeprint',()=>document.querySelectorAll('details').forEach(each=>each.open=true));
"""


def write_html(recording: Recording, _out: Path) -> bytes:
    """The page."""
    state = fold(recording.events)
    allowed = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'; "
        "form-action 'none'"
    )
    title = _text(recording.name)
    told = "".join(f"<dt>{_text(name)}</dt><dd>{_text(said)}</dd>" for name, said in facts(state))
    problems = "".join(f"<p class=bad>{_text(problem)}</p>" for problem in recording.problems)
    task = state.started.description if state.started else ""
    page = [
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>",
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name=viewport content="width=device-width,initial-scale=1"><meta name=referrer content=no-referrer>',
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f"<dl>{told}</dl>{problems}",
        f"<details><summary>the task</summary><pre>{_text(task)}</pre></details>" if task else "",
        _plot(state),
        "<h2>Steps</h2><div id=find>",
        '<input id=search type=search placeholder="search steps ( / )" aria-label="search steps">',
        "<span id=found role=status></span></div><main>",
        *_steps(recording, state),
        f"</main><script>{_SCRIPT}</script></body></html>\n",
    ]
    return "".join(page).encode("utf-8", "replace")


def _text(said: str) -> str:
    return escape(visible(said))


def _steps(recording: Recording, state: SessionState) -> Iterator[str]:
    notes = notes_by_step(state)
    shown = None
    for step in state.steps[1:]:
        yield _step(step)
        if step.window is not None and step.window is not shown:
            yield _window(recording, state, step.number, step.window)
        shown = step.window
        told = [f"{said.author}: {said.text}" for said in step.messages]
        yield from (f"<p class=thought>{_text(said)}</p>" for said in notes.get(step.number, []) + told)
        yield "</article>"
    yield from (f"<p class=thought>{_text(said)}</p>" for said in notes.get(None, []))


def _window(recording: Recording, state: SessionState, step: int, window: WindowChanged) -> str:
    """The lines of the file that the agent saw; of our own sessions they are in the file as it was at that step."""
    where = f"{window.path}, lines {window.first_line} to {window.last_line} of {window.total_lines}"
    seen = window.text
    file = state.file_seen(window.path, step)
    if seen is None and file is not None and file.object is not None and recording.folder is not None:
        with contextlib.suppress(OSError, ValueError):
            lines = ObjectStore(recording.folder / "objects").get(file.object).decode("utf-8", "replace").split("\n")
            seen = "\n".join(lines[max(window.first_line - 1, 0) : window.last_line])
    if not seen:
        return f"<p>{_text(where if window.total_lines else window.path)}</p>"
    numbered = "\n".join(f"{line:>5} {said}" for line, said in enumerate(seen.split("\n"), window.first_line))
    return f"<details><summary>{_text(where)}</summary><pre>{_text(numbered)}</pre></details>"


def _step(step: Step) -> str:
    """The beginning of a step: what follows may add to it."""
    failed = not step.executed or step.exit_code not in (0, None) or step.timed_out
    said = outcome(step)
    scores = "".join(f"<span class=score>score {number(s.score)}</span>" for s in step.scores if s.score is not None)
    parts = [
        f'<article id="step-{step.number}"><header><b>{step.number}</b><span>{_text(step.author)}</span>',
        f'<span class="{"bad" if failed else ""}">{_text(said)}</span>{scores}<time>{_text(step.time)}</time></header>',
        f"<p class=thought>{_text(step.thought.strip())}</p>" if step.thought.strip() else "",
        f"<details><summary>as it was proposed</summary><pre>{_text(step.proposed)}</pre></details>"
        if step.edited
        else "",
        f"<pre class=action>{_text(step.action.rstrip())}</pre>",
    ]
    if step.observation.strip() and step.status != "rejected":
        parts.append(f"<pre>{_text(shortened(step.observation))}</pre>")
    if step.changes:
        parts.append(f"<p>changed: {_text(', '.join(change.path for change in step.changes[:50]))}</p>")
    return "".join(parts)


def _plot(state: SessionState) -> str:
    """Scores over steps, with the baseline."""
    points = [(entry.step, entry.score) for entry in state.scores_until() if entry.score is not None]
    if not points:
        return ""
    base = state.metric.baseline
    values = [value for _, value in points] + ([base] if base is not None else [])
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(state.last_step, 1)

    def place(step: int, value: float) -> tuple[float, float]:
        return 60 + 700 * step / last, 170 - 150 * (value - low) / span

    dots = [place(*point) for point in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--mark)"><title>step {step}: {number(value)}</title>'
        "</circle>"
        for (x, y), (step, value) in zip(dots, points, strict=True)
    )
    level = place(0, base)[1] if base is not None else 0.0
    rule = (
        f'<line x1="60" x2="760" y1="{level:.1f}" y2="{level:.1f}" stroke="var(--dim)" stroke-dasharray="4"/>'
        f'<text x="764" y="{level + 4:.1f}">baseline</text>' if base is not None else ""
    )  # fmt: skip
    name = _text(state.metric.name or "score")
    return (
        f'<h2>{name}</h2><svg viewBox="0 0 830 200" role="img" aria-label="{name} over steps">'
        f'<text x="4" y="24">{number(high)}</text><text x="4" y="174">{number(low)}</text>'
        f'<text x="60" y="194">step 0</text><text x="720" y="194">step {last}</text>{rule}'
        f'<polyline points="{line}" fill="none" stroke="var(--mark)" stroke-width="2"/>{marks}</svg>'
    )
