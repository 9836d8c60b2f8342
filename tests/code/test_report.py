"""The report: every number is that of the run it leads to, and what is missing is said."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.report import report
from flows.report_figures import RELEASE, SECTIONS
from flows.report_page import Addresses
from lineact.files import write_text
from tests.reported_line import CHAMPION, EVALUATED, FLOW_RUN, LINE, STAGES, log_runs, write_ledger

pytestmark = pytest.mark.slow  # laying out MLflow's database takes over ten seconds
ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = Addresses("http://mlflow:5000", "http://prefect:4200")
RUN = re.compile(r"^http://mlflow:5000/#/experiments/(?P<experiment>\d+)/runs/(?P<run>[0-9a-f]{32})$")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """MLflow's database with two runs of the line, and their parents' ids."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    return path, log_runs(MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(ROOT / "conf", "conf")
    return tmp_path


@pytest.fixture
def ran(project, database):
    shutil.copyfile(database[0], project / "mlflow.db")
    write_ledger()
    return database[1]


class Rows(HTMLParser):
    """Rows of the tables under each heading: texts and addresses of their cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.heading, self.tag = "", ""

    def handle_starttag(self, tag, attrs):
        self.tag = tag
        if tag == "h2":
            self.heading = ""
        if tag == "tr":
            self.rows.setdefault(self.heading, []).append([])
        if tag == "td":
            self.rows[self.heading][-1].append("")
        if tag == "a":
            self.links.append(dict(attrs)["href"])
            if self.rows.get(self.heading) and self.rows[self.heading][-1]:
                self.rows[self.heading][-1][-1] += f" {dict(attrs)['href']} "

    def handle_endtag(self, tag):
        self.tag = self.tag if tag != self.tag else ""

    def handle_data(self, data):
        if self.tag == "h2":
            self.heading += data
        elif self.rows.get(self.heading) and self.rows[self.heading][-1]:
            self.rows[self.heading][-1][-1] += data


def read(path: Path) -> Rows:
    found = Rows()
    found.feed(path.read_text())
    return found


@pytest.mark.usefixtures("ran")
def test_every_number_leads_to_the_run_that_has_it(project):
    from mlflow import MlflowClient

    page = read(report([LINE], Path("out"), ADDRESSES)[0])
    client, told = MlflowClient(), 0
    for title, figures in SECTIONS.items():
        by_words = {(figure.words, figure.stage): figure for figure in figures}
        for words, value, stage, link in (row for row in page.rows.get(title, []) if row):
            figure, address = by_words[words, stage], RUN.match(link.split()[0])
            assert address, link
            run = client.get_run(address["run"])
            assert run.info.experiment_id == address["experiment"]
            assert run.data.tags["lineact.stage"] == stage == figure.stage
            assert value == figure.form.format(run.data.metrics[figure.metric])
            told += 1
    # all that was logged and no more; of what was evaluated the champion's alone
    known = {(figure.stage, figure.metric) for figures in SECTIONS.values() for figure in figures}
    logged = {("evaluate", name) for name in EVALUATED[CHAMPION - 1]} | {(s, m) for s, of in STAGES.items() for m in of}
    assert told == len(known & logged)
    assert "Of the champion, version 2." in (project / "out/demo.html").read_text()
    (accuracy,) = (row for row in page.rows[RELEASE] if row and row[0] == "actions of found hands right")
    assert accuracy[1] == "0.965"


def test_models_over_time_champion_and_ledger(ran):
    path = report([LINE], Path("out"), ADDRESSES)[0]
    page, text = read(path), path.read_text()
    over_time = [row for row in page.rows["Models over time"] if row]
    assert [row[4] for row in over_time] == ["0.940", "0.965", "0.900"]
    assert all(run_id in "".join(row) for row, run_id in zip(over_time, reversed(ran), strict=True))
    assert f"http://prefect:4200/runs/flow-run/{FLOW_RUN}" in page.links
    newest, champion, first = (row for row in page.rows["Champion and challengers"] if row)
    assert (champion[0].split()[-1], champion[1], champion[4]) == ("2", "champion", "all 1 hold")
    assert newest[1] == first[1] == ""
    assert newest[4] == first[4] == "detection_recall: 0.91 against at least 0.95"
    (entry,) = (row for row in page.rows["The promotion ledger"] if row)
    assert entry[1:4] == ["ann", "none → 2", "detection_recall: 1.00 against at least 0.95"]
    assert text.count("<circle") == 9  # three figures of three runs
    seconds = [row for row in page.rows["What the stages cost the machine"] if row]
    assert len(seconds) == len(STAGES) + 1
    assert "1.0 minutes in all" in text


@pytest.mark.usefixtures("ran")
def test_the_plant_s_page_has_all_lines_and_leads_to_theirs():
    path = report([LINE], Path("out"), ADDRESSES)[-1]
    (row,) = (row for row in read(path).rows[""] if row)
    assert path.name == "index.html"
    assert row[0].split() == ["demo.html", "demo"]
    assert row[1] == "version 2"
    assert row[2].startswith("0.965 ")
    assert "nobody looked" in row
    assert "What is missing" not in path.read_text()


def test_what_is_missing_is_said_and_nothing_is_made(project):
    paths = report([LINE], Path("out"), ADDRESSES)
    text = paths[0].read_text()
    assert "MLflow has no database yet: `python -m flows.retrain line=demo` makes it" in text
    assert not (project / "mlflow.db").exists()
    assert "demo: MLflow has no database yet" in paths[1].read_text()


@pytest.mark.usefixtures("ran")
def test_what_a_line_never_had_is_said():
    text = report([LINE], Path("out"), ADDRESSES)[0].read_text()
    assert "drift: nobody looked; `make monitor LINE=demo`" in text
    assert "no run has any" not in text


@pytest.mark.usefixtures("ran")
def test_a_broken_ledger_and_a_server_that_is_away_leave_the_rest(monkeypatch):
    write_text(Path("models/demo/promotions.jsonl"), "torn\n")
    text = report([LINE], Path("out"), ADDRESSES)[0].read_text()
    assert "the ledger: models/demo/promotions.jsonl, line 1: expected a promotion" in text
    assert "0.965" in text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "MLflow does not answer: " in report([LINE], Path("out"), ADDRESSES)[0].read_text()


@pytest.mark.usefixtures("ran")
def test_texts_are_no_markup():
    file = Path("conf/line/demo.yaml")
    file.write_text(re.sub("description: .*", 'description: "<script>alert(1)</script> & more"', file.read_text()))
    text = report([LINE], Path("out"), ADDRESSES)[0].read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
