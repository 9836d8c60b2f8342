"""SECURITY.md is true: its tests exist. Secrets are written nowhere. The audit tells what it did not ask."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.audit import audit, read_audit, words_of
from flows.ui import ui_command
from lineact.errors import InputError
from lineact.secret_file import read_secret

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line.split("|")
    for line in (ROOT / "SECURITY.md").read_text().splitlines()
    if re.match(r"\| (?!threat|secret)", line)
]
DEFINED = {
    found[1]
    for path in (ROOT / "tests").rglob("test_*.py")
    for found in re.finditer(r"^\s*(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}


def test_there_are_threats():
    assert len(ROWS) > 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1].strip()[:60])
def test_every_defence_has_a_test_that_exists(row):
    assert len(row) == 5
    named = re.findall(r"`(test_\w+)`", row[3])
    assert named
    assert set(named) <= DEFINED


@pytest.mark.parametrize("port", ["5000", "5001"])
def test_mlflow_s_page_listens_on_this_machine_alone(port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = ui_command(port)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command.count("--host") == 1
    assert command[command.index("--port") + 1] == port


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secret_that_others_can_read_or_change_is_refused(mode, tmp_path):
    path = tmp_path / "password"
    path.write_text(" s3cret\n")
    path.chmod(mode)
    with pytest.raises(InputError, match=f"{path}: expected a file that its owner alone can read; run `chmod 600"):
        read_secret(path, "password")
    path.chmod(0o600)
    assert read_secret(path, "password") == "s3cret"
    with pytest.raises(InputError, match="expected a file with the password, found none"):
        read_secret(tmp_path / "none", "password")


NAMES = (
    "PGPASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "PREFECT_API_KEY",
    "HF_TOKEN",
)
LOGS_A_RUN = """
from pathlib import Path
from flows import tracking
from tasks.configure import configure
configure(Path("conf"), Path("params.yaml"))
with tracking.parent_run("demo") as parent:
    tracking.client().log_metric(parent, "x", 1.0)
    with tracking.comparison_run("demo", "compared", "flows.compare", {}) as compared:
        tracking.log_compared(compared, "demo", "one", {}, {"a": 1}, {"b": 2.0})
print(tracking.provenance("demo"))
"""


def test_no_secret_of_the_environment_is_written_down(tmp_path):
    from tests.small_line import clone_checkout, environment

    checkout = clone_checkout(tmp_path / "checkout")
    planted = {name: secrets.token_hex(16) for name in NAMES}
    made = {"PYTHONPATH": str(checkout)} | planted
    done = subprocess.run(
        [sys.executable, "-c", LOGS_A_RUN], cwd=checkout, env=environment() | made, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (checkout / "mlflow.db").stat().st_size > 100_000
    written = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file() and ".git/" not in str(path)}
    assert checkout / "params.yaml" in written
    told = written | {Path("output"): (done.stdout + done.stderr).encode()}
    assert not [path for path, content in told.items() if any(value.encode() in content for value in planted.values())]


class Advisories(BaseHTTPRequestHandler):
    """Knows one weakness, as OSV tells it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        event = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.1"}]}
        weak: dict[str, Any] = {"id": "PYSEC-2026-1", "summary": "a weakness", "details": "", "aliases": []}
        weak |= {"affected": [{"package": asked["package"], "ranges": [event], "versions": [asked["version"]]}]}
        content = json.dumps({"vulns": [weak]} if name == "weak" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def advisories(monkeypatch) -> Iterator[str]:
    """An advisory service on this machine; asked without a proxy."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


def lock_of(path: Path, *names: str) -> Path:
    path.write_text("".join(f"{name}==9.0 --hash=sha256:{'0' * 64}\n" for name in names))
    return path


def test_a_known_weakness_fails_and_what_was_not_asked_about_has_not_passed(advisories, tmp_path):
    cache = ("--cache-dir", str(tmp_path / "cache"))
    service = ("--vulnerability-service", "osv", "--osv-url", advisories, *cache)
    sound = audit(lock_of(tmp_path / "sound.lock", "one", "two"), *service)
    assert (sound.asked, sound.weak, sound.unknown, sound.exit_code) == (2, (), (), 0)
    weak = audit(lock_of(tmp_path / "weak.lock", "one", "weak"), *service)
    assert weak.exit_code == 1
    assert "known weakness: weak 9.0: PYSEC-2026-1, mended in 9.1" in words_of(weak)
    nowhere = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/v1/query", *cache)
    away = audit(lock_of(tmp_path / "sound.lock", "one", "three"), *nowhere)
    assert away.exit_code == 69
    assert "not audited, so not passed" in words_of(away)


def test_a_package_that_the_service_does_not_know_has_not_passed():
    known = {"name": "a", "version": "1", "vulns": []}
    found = read_audit({"dependencies": [known, {"name": "b", "skip_reason": "not found"}]})
    assert found.exit_code == 69
    assert "not audited, so not passed: b" in words_of(found)
    weak = {"name": "c", "version": "1", "vulns": [{"id": "X", "fix_versions": []}]}
    assert read_audit({"dependencies": [known, weak, {"name": "b", "skip_reason": "-"}]}).exit_code == 1
    assert read_audit({"dependencies": [known]}).exit_code == 0
    assert read_audit({"dependencies": []}).exit_code == 69


def test_ci_takes_an_unreachable_service_and_no_finding():
    last = (ROOT / ".ci/run").read_text().splitlines()[-1]
    assert last.endswith("-m flows.audit || [ $? -eq 69 ]")
    for code, expected in ((0, 0), (69, 0), (1, 1)):
        script = "set -euo pipefail\n" + last.replace(".venv/bin/python -m flows.audit", f"(exit {code})")
        assert subprocess.run(["bash", "-c", script]).returncode == expected
