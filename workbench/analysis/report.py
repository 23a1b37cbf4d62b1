"""An analysis as one page: HTML that needs nothing else and loads nothing, and a summary in Markdown."""

from __future__ import annotations

from html import escape
from pathlib import Path

from workbench.analysis.figures import as_svg, figures
from workbench.analysis.output import cell, md_text
from workbench.analysis.summary import Analysis, Table, held, tables

DEFINITIONS = (
    ("best", "The best score that any validate or submit of a run reached."),
    ("last", "The last score of a run: what it submitted."),
    (
        "ratio",
        "How many times worse than the best a score is. Where a task has scores at or below zero: 1 plus the distance"
        " to the best, in units of the distance between the best and the baseline. A score that is worse than the"
        " baseline, or missing, gets (1 + ε) times the worst ratio of its task.",
    ),
    ("performance profile", "The share of tasks whose ratio is at most τ (Dolan and Moré, 2002)."),
    ("AUP", "The area under that profile over log10 τ, as in MLGym (arXiv 2502.14499)."),
    ("intervals", "95 %, by drawing the runs of each model and task anew with replacement (bootstrap)."),
    ("ranks", "Equal scores, and all that are missing, share their mean rank. Borda: how many stand behind, summed."),
    ("Bradley-Terry", "Logarithms of strengths that explain who is ahead of whom on each task; they sum to zero."),
    ("failed, incomplete", "Nothing was scored; or something was, but the run neither submitted nor used all steps."),
)

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--page:#fff;--line:#d0d0d0;--soft:#f3f3f3}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--page:#181818;--line:#444;--soft:#242424}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:2rem auto;max-width:76rem;
padding:0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto;margin:.5rem 0 1rem}
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{background:var(--soft)}
.note{opacity:.8;margin-top:-.5rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(24rem,1fr));gap:1rem}
figure{margin:0;background:#fff;border:1px solid var(--line);padding:.5rem;break-inside:avoid}
figure svg{width:100%;height:auto}
code{background:var(--soft);padding:.1rem .3rem;overflow-wrap:anywhere}
@media print{body{max-width:none;margin:0}table{display:table;font-size:8pt}.figures{display:block}}
"""


def html_page(analysis: Analysis, command: str, style: Path | None = None) -> str:
    """The whole page. `command` is what made it."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<meta name=viewport content='width=device-width'><title>Analysis of {len(analysis.runs)} runs</title>",
        f"<style>{_STYLE}</style><h1>Analysis of {len(analysis.runs)} runs</h1>",
        f"<p>{escape(held(analysis))}. Made by <code>{escape(command)}</code>.</p>",
    ]
    if analysis.warnings:
        parts.append("<h2>To be known first</h2><ul>")
        parts += [f"<li>{escape(cell(said))}</li>" for said in analysis.warnings]
        parts.append("</ul>")
    found = tables(analysis)
    parts += [_table(table) for table in found if table.name != "runs"]
    parts.append("<h2>Figures</h2><div class=figures>")
    parts += [f"<figure>{as_svg(figure, style)}</figure>" for figure in figures(analysis)]
    parts.append("</div><h2>Definitions</h2><dl>")
    parts += [f"<dt><b>{escape(name)}</b></dt><dd>{escape(text)}</dd>" for name, text in DEFINITIONS]
    parts.append("</dl>")
    parts += [_table(table) for table in found if table.name == "runs"]
    return "\n".join([*parts, "</html>", ""])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell(value))}</td>" for value in row) + "</tr>" for row in table.rows)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def markdown(analysis: Analysis, command: str) -> str:
    """The summary: everything but figures and the list of runs."""
    warned = [f"- {cell(said)}" for said in analysis.warnings]
    return "\n".join([
        f"# Analysis of {len(analysis.runs)} runs", "", f"{held(analysis)}. Made by `{command.replace('`', '')}`.", "",
        *(["## To be known first", "", *warned, ""] if warned else []),
        *(md_text(table) for table in tables(analysis) if table.name != "runs"),
        "## Definitions", "", *(f"- **{name}**: {text}" for name, text in DEFINITIONS), "",
    ])  # fmt: skip
