"""`make report [LINE=x]`: one HTML page for a line, or for each active one, and one for the plant."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from flows import command_line
from flows.pipeline import CONF, stages_of
from flows.report_facts import Facts, facts_of
from flows.report_page import Addresses, line_page, plant_page
from flows.server import standing_server
from lineact.errors import ConfigError
from lineact.files import write_text
from tasks.configure import active_lines

REPORTS = Path(".lineact/report")
MLFLOW_URL, PREFECT_URL = "http://127.0.0.1:5000", "http://127.0.0.1:4200"  # of `make ui` and `make serve`


def report(lines: list[str], to: Path, addresses: Addresses) -> list[Path]:
    """Writes the pages.

    Args:
        lines: that get a page of their own; the plant's page has all active ones.
        to: folder for them.
        addresses: of the user interfaces.

    Returns:
        The files, the plant's last.
    """
    made_at = datetime.now(UTC)
    facts = {line: facts_of(line, _description(line)) for line in active_lines(CONF)}
    paths = []
    for line in lines:
        paths.append(to / f"{line}.html")
        write_text(paths[-1], line_page(facts[line], addresses, made_at))
    paths.append(to / "index.html")
    write_text(paths[-1], plant_page(_with_pages(facts, to), addresses, made_at))
    return paths


def _with_pages(facts: dict[str, Facts], to: Path) -> list[Facts]:
    """All lines; of one without a page the plant's page says how it gets one."""
    for line, found in facts.items():
        if not (to / f"{line}.html").is_file():
            found.missing.append(f"its page: `make report LINE={line}`")
    return list(facts.values())


def _description(line: str) -> str:
    import yaml

    settings = yaml.safe_load((CONF / "line" / f"{line}.yaml").read_text()) or {}
    return str(settings.get("description", line))


def main() -> None:
    """`[line=demo] [to=DIR] [mlflow=URL] [prefect=URL]`."""
    values = command_line.parse(sys.argv[1:], (), ("line", "to", "mlflow", "prefect"))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is away is told, not waited for
    line = values.get("line")
    if line:
        stages_of(line)  # refuses an unknown one
    standing = standing_server()
    prefect = standing[0].removesuffix("/api") if standing else PREFECT_URL
    tracked = os.environ.get("MLFLOW_TRACKING_URI", "")
    mlflow = tracked if tracked.startswith("http") else MLFLOW_URL
    addresses = Addresses(*(_address(name, values.get(name) or default) for name, default in
                            (("mlflow", mlflow), ("prefect", prefect))))  # fmt: skip
    to = Path(values.get("to") or REPORTS).expanduser()
    for path in report([line] if line else active_lines(CONF), to, addresses):
        print(path)


def _address(name: str, text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ConfigError(f"{name}={text}: expected an address such as {MLFLOW_URL}")
    return text.rstrip("/")


if __name__ == "__main__":
    command_line.run(main)
