"""The report as HTML: no script, no network; every number leads to the run that it came from."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

from flows.report_chart import chart
from flows.report_facts import COMPARISON, DRIFT, PIPELINE, Facts, Run, Version
from flows.report_figures import OVER_TIME, RELEASE, SECTIONS, TILES, Figure

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 0 1rem 3rem; color: #1d2730; }
h1 { font-size: 1.5rem; margin: 1.2rem 0 0.2rem; } h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
.about, .none { color: #55616c; margin: 0; } a { color: #1f5d9c; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.7rem; margin: 1rem 0; }
.tile { background: #f1f4f7; border-radius: 0.5rem; padding: 0.6rem 0.9rem; min-width: 8rem; }
.tile { text-decoration: none; color: inherit; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile.wrong { background: #fbe9e6; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.3rem 1.1rem 0.3rem 0; border-bottom: 1px solid #e2e7ec; vertical-align: top; }
td:first-child { white-space: nowrap; } code { font-size: 0.9em; }
.missing { background: #fff6d8; border-radius: 0.5rem; padding: 0.5rem 1rem 0.5rem 2rem; }
svg { width: 100%; max-width: 52rem; min-width: 36rem; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: #38434d; }
svg .grid { stroke: #e2e7ec; }
@media print { a { color: inherit; } tr, svg { break-inside: avoid; } }
"""
MOST_RUNS = 40  # in a table or a chart, the newest
MINUTE_S = 60.0


class Addresses(NamedTuple):
    """Where the two user interfaces are.

    Attributes:
        mlflow: e.g. "http://127.0.0.1:5000".
        prefect: e.g. "http://127.0.0.1:4200".
    """

    mlflow: str
    prefect: str


def line_page(facts: Facts, addresses: Addresses, made_at: datetime) -> str:
    """One line's page.

    Args:
        facts: of the line.
        addresses: of the user interfaces.
        made_at: UTC.
    """
    experiment = next((run.experiment_id for run in facts.runs), None)
    links = ['<a href="index.html">all lines</a>']
    if experiment:
        links.append(
            f'<a href="{escape(addresses.mlflow)}/#/experiments/{escape(experiment)}">experiment in MLflow</a>'
        )
    links.append(f'<a href="{escape(addresses.prefect)}/runs">runs in Prefect</a>')
    parts = [
        f'<p class="about">{escape(facts.description)}. {_made(made_at)} {" · ".join(links)}</p>',
        _missing(facts.missing + _never_run(facts)),
        _tiles(facts, addresses),
        *(_figures(title, figures, facts, addresses) for title, figures in SECTIONS.items()),
        _over_time(facts, addresses),
        _versions(facts, addresses),
        _seconds(facts, addresses),
        _drift(facts, addresses),
        _comparisons(facts, addresses),
        _ledger(facts),
    ]
    return _page(f"Line {facts.line}", parts)


def plant_page(lines: Sequence[Facts], addresses: Addresses, made_at: datetime) -> str:
    """All lines on one page.

    Args:
        lines: their facts.
        addresses: of the user interfaces.
        made_at: UTC.
    """
    head = ("line", "champion", *(figure.words for figure in TILES), "drift", "review", "last run")
    rows = []
    for facts in lines:
        champion, last = facts.champion, next(iter(facts.of_kind(PIPELINE)), None)
        rows.append(
            [
                f'<a href="{escape(facts.line)}.html">{escape(facts.line)}</a>',
                f"version {escape(champion.number)}" if champion else "none",
                *(_number(figure, facts, addresses) or "-" for figure in TILES),
                _drift_word(facts),
                f"waits since {escape(facts.waiting_since)}" if facts.waiting_since else "-",
                f"{_link(last, addresses)} {escape(last.status.lower())}" if last else "never",
            ]
        )
    missing = [f"{facts.line}: {words}" for facts in lines for words in facts.missing]
    parts = [f'<p class="about">{_made(made_at)}</p>', _missing(missing), _table(head, rows)]
    return _page("The plant", parts)


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>lineact: {escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{''.join(parts)}</body></html>\n"
    )


def _made(made_at: datetime) -> str:
    return f"Made on {made_at:%d %B %Y, %H:%M} UTC."


def _missing(words: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(one)}</li>" for one in words)
    return f'<h2>What is missing</h2><ul class="missing">{items}</ul>' if items else ""


def _never_run(facts: Facts) -> list[str]:
    """Sections of which no run has a number."""
    if not facts.runs:
        return [] if facts.missing else [f"MLflow has no run yet: `python -m flows.retrain line={facts.line}`"]
    told = [f"{title}: no run has any" for title, figures in SECTIONS.items() if not _has_any(figures, facts)]
    if not facts.versions:
        told.append("releases: none was registered")
    if not facts.of_kind(DRIFT):
        told.append(f"drift: nobody looked; `make monitor LINE={facts.line}` compares what a station sees")
    return told


def _has_any(figures: Sequence[Figure], facts: Facts) -> bool:
    return any(_found(figure, facts) is not None for figure in figures)


def _found(figure: Figure, facts: Facts) -> tuple[float, Run] | None:
    run = facts.stage(figure.stage)
    return (run.metrics[figure.metric], run) if run and figure.metric in run.metrics else None


def _number(figure: Figure, facts: Facts, addresses: Addresses) -> str:
    """The number with a link to the run that it came from; "" where there is none."""
    found = _found(figure, facts)
    return f"{figure.form.format(found[0])} {_link(found[1], addresses)}" if found else ""


def _address(run: Run, addresses: Addresses) -> str:
    return f"{addresses.mlflow}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def _link(run: Run, addresses: Addresses) -> str:
    told = f"{run.name}, {run.started_at:%Y-%m-%d %H:%M} UTC, {run.run_id}"
    return f'<a href="{escape(_address(run, addresses))}" title="{escape(told)}"><code>{run.run_id[:8]}</code></a>'


def _prefect(run: Run, addresses: Addresses) -> str:
    if not run.flow_run:
        return "-"
    address = escape(f"{addresses.prefect}/runs/flow-run/{run.flow_run}")
    return f'<a href="{address}"><code>{escape(run.flow_run[:8])}</code></a>'


def _tiles(facts: Facts, addresses: Addresses) -> str:
    champion = facts.champion
    tiles = [("champion", f"version {champion.number}" if champion else "none", "")]
    for figure in TILES:
        if found := _found(figure, facts):
            tiles.append((figure.words, figure.form.format(found[0]), _address(found[1], addresses)))
    drawn = "".join(
        f'<a class="tile" href="{escape(address)}"><b>{escape(value)}</b>{escape(words)}</a>'
        if address
        else f'<div class="tile"><b>{escape(value)}</b>{escape(words)}</div>'
        for words, value, address in tiles
    )
    return f'<div class="tiles">{drawn}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heading = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>'


def _figures(title: str, figures: Sequence[Figure], facts: Facts, addresses: Addresses) -> str:
    rows = []
    for figure in figures:
        if found := _found(figure, facts):
            value = escape(figure.form.format(found[0]))
            rows.append([escape(figure.words), value, escape(figure.stage), _link(found[1], addresses)])
    about = f'<p class="about">{_whose(facts)}</p>' if title == RELEASE else ""
    return f"<h2>{escape(title)}</h2>{about}{_table(('', '', 'stage', 'run'), rows)}" if rows else ""


def _whose(facts: Facts) -> str:
    if facts.champion:
        return f"Of the champion, version {escape(facts.champion.number)}."
    return "Nothing is released: of the newest run that measured anything."


def _over_time(facts: Facts, addresses: Addresses) -> str:
    runs = facts.of_kind(PIPELINE)[:MOST_RUNS]
    if not runs:
        return ""
    rows = [
        [
            f"{run.started_at:%Y-%m-%d %H:%M}",
            _link(run, addresses),
            _prefect(run, addresses),
            escape(run.status.lower()),
            *(f"{run.metrics[name]:.3f}" if name in run.metrics else "-" for name in OVER_TIME),
        ]
        for run in runs
    ]
    head = ("UTC", "MLflow", "Prefect", "", *OVER_TIME.values())
    drawn = chart(runs[::-1], [_address(run, addresses) for run in reversed(runs)])
    return f"<h2>Models over time</h2>{drawn}{_table(head, rows)}"


def _versions(facts: Facts, addresses: Addresses) -> str:
    rows = [_version(version, facts, addresses) for version in facts.versions[:MOST_RUNS]]
    head = ("version", "", "registered, UTC", "run", "gates", "bundle")
    return f"<h2>Champion and challengers</h2>{_table(head, rows)}" if rows else ""


def _version(version: Version, facts: Facts, addresses: Addresses) -> list[str]:
    run = facts.run(version.run_id)
    failed = [f"{name}: {reason}" for name, passed, reason in version.gates if not passed]
    held = f"all {len(version.gates)} hold" if version.gates else "not judged: registered again, or by hand"
    model = f"{addresses.mlflow}/#/models/lineact-{facts.line}/versions/{version.number}"
    return [
        f'<a href="{escape(model)}">{escape(version.number)}</a>',
        escape(", ".join(version.aliases)),
        f"{version.registered_at:%Y-%m-%d %H:%M}",
        _link(run, addresses) if run else f"<code>{escape(version.run_id[:8])}</code>",
        "<br>".join(map(escape, failed)) if failed else held,
        f"<code>{escape(version.bundle_sha256[:12])}</code>",
    ]


def _seconds(facts: Facts, addresses: Addresses) -> str:
    """Machine time: what each stage of the newest finished run took when it was made."""
    parent = next((run for run in facts.of_kind(PIPELINE) if run.status == "FINISHED"), None)
    if parent is None:
        return ""
    stages = [name.removeprefix("stage.") for name in parent.tags if name.startswith("stage.")]
    made = [(stage, facts.stage(stage, parent)) for stage in stages]
    timed = [(stage, run) for stage, run in made if run and "stage_seconds" in run.metrics]
    timed.sort(key=lambda one: -one[1].metrics["stage_seconds"])
    rows = [[escape(stage), f"{run.metrics['stage_seconds']:.1f} s", _link(run, addresses)] for stage, run in timed]
    whole = sum(run.metrics["stage_seconds"] for _, run in timed) / MINUTE_S
    about = f'<p class="about">{whole:.1f} minutes in all, when each was made, of run {_link(parent, addresses)}.</p>'
    return f"<h2>What the stages cost the machine</h2>{about}{_table(('stage', '', 'run'), rows)}" if rows else ""


def _drift_word(facts: Facts) -> str:
    looked = facts.of_kind(DRIFT)
    if not looked:
        return "nobody looked"
    return escape(looked[0].tags.get("lineact.drift", "unknown"))


def _drift(facts: Facts, addresses: Addresses) -> str:
    rows = [
        [
            f"{run.started_at:%Y-%m-%d %H:%M}",
            escape(run.tags.get("lineact.drift", "unknown")),
            escape(run.tags.get("lineact.drift_words", "")),
            _link(run, addresses),
        ]
        for run in facts.of_kind(DRIFT)[:MOST_RUNS]
    ]
    return f"<h2>Drift</h2>{_table(('UTC', '', '', 'run'), rows)}" if rows else ""


def _comparisons(facts: Facts, addresses: Addresses) -> str:
    rows = [
        [f"{run.started_at:%Y-%m-%d %H:%M}", escape(run.name), escape(run.status.lower()), _link(run, addresses)]
        for run in facts.of_kind(COMPARISON)[:MOST_RUNS]
    ]
    return f"<h2>Comparisons</h2>{_table(('UTC', '', '', 'run'), rows)}" if rows else ""


def _ledger(facts: Facts) -> str:
    rows = []
    for entry in reversed(facts.entries):
        content = entry.content
        why = content.get("why") or {}
        reasons = why.items() if isinstance(why, dict) else ()
        rows.append(
            [
                escape(str(content.get("at", "")))[:16],
                escape(str(content.get("who", ""))),
                escape(f"{content.get('previous') or 'none'} → {content['version']}"),
                "<br>".join(escape(f"{name}: {reason}") for name, reason in reasons),
                f"<code>{escape(entry.sha256[:12])}</code>",
            ]
        )
    return f"<h2>The promotion ledger</h2>{_table(('UTC', 'who', 'champion', 'why', 'entry'), rows)}" if rows else ""
