"""Where bundles come from: whatever is partial, altered or too new is refused, and nothing half-copied stays."""

import dataclasses
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from lineact.bundle import load_bundle
from lineact.bundle.manifest import MANIFEST, MANIFEST_VERSION, read_manifest
from lineact.bundle.provenance import PROVENANCE, identity_of, read_provenance, write_provenance
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_tree, write_json
from lineact.runtime.bundles import CHAMPION, fetch, name_at
from lineact.runtime.errors import RegistryError
from tests.real_registry import RealRegistry
from tests.test_services import free_port

ORIGIN = {"git_commit": "c0ffee", "dvc_lock_sha256": "1" * 64, "data_hash": "abc.dir"}
ADDRESS = "models:/lineact-press_a@champion"


@pytest.fixture
def bundle(released, tmp_path):
    """A bundle as it is registered: with its origin."""
    folder = tmp_path / "registered"
    shutil.copytree(released / "export/bundle", folder)
    write_provenance(folder, "press_a", ORIGIN, run_id="run7")
    return folder


class Registry:
    """Answers as an MLflow server does: one version, its tags, and its run's files."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.identity = identity_of(bundle / MANIFEST, read_manifest(bundle))
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        self.cut_short = ""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.authorizations.add(self.headers.get("Authorization"))
                parts = urlsplit(self.path)
                status, content = registry.answer(parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()})
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if registry.cut_short in self.path[-20:] else content)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path == "/get-artifact":
            self.asked.append(query["path"])
            file = self.bundle / query["path"].removeprefix("bundle/artifacts/bundle/")
            return (200, file.read_bytes()) if file.is_file() and query["run_id"] == "run7" else (404, b"no artifact")
        known = query in ({"name": "lineact-press_a", "alias": "champion"}, {"name": "lineact-press_a", "version": "3"})
        if not known or not path.startswith("/api/2.0/mlflow/"):
            return 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
        tags = [{"key": "bundle_sha256", "value": self.identity}]
        return 200, json.dumps(
            {"model_version": {"version": "3", "source": "runs:/run7/bundle", "tags": tags}}
        ).encode()


@pytest.fixture
def registry(bundle, monkeypatch):
    found = Registry(bundle)
    found.cut_short = "nothing is"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", found.url + "/")
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def published(bundle, tmp_path):
    """A published folder with one version."""
    folder = tmp_path / "published"
    shutil.copytree(bundle, folder / "3")
    identity = identity_of(bundle / MANIFEST, read_manifest(bundle))
    write_json(folder / CHAMPION, {"version": "3", "bundle_sha256": identity})
    return folder


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_bundle_is_the_same_before_and_after_it_is_registered(bundle, released):
    exported = released / "export/bundle"
    identity = identity_of(exported / MANIFEST, read_manifest(exported))
    assert identity == sha256_of_tree(exported)  # what the registry tags
    assert identity == identity_of(bundle / MANIFEST, read_manifest(bundle))
    assert read_provenance(exported) is None
    origin = read_provenance(bundle)
    assert origin is not None
    assert dataclasses.asdict(origin).items() >= {**ORIGIN, "run_id": "run7", "line": "press_a"}.items()


def test_a_plain_folder_is_used_where_it_lies(bundle, released, tmp_path):
    assert fetch(str(bundle), tmp_path / "into") == bundle
    assert fetch(str(released / "export/bundle"), tmp_path / "into") == released / "export/bundle"
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("address", [ADDRESS, "models:/lineact-press_a/3"])
def test_the_registry_is_asked_once_for_each_file_and_bundle(registry, tmp_path, address):
    folder = fetch(address, tmp_path / "into")
    assert folder == tmp_path / "into" / f"press_a-{registry.identity[:12]}"
    assert load_bundle(folder).manifest.line == "press_a"
    assert sha256_of_tree(folder) == sha256_of_tree(registry.bundle)
    files = len(registry.asked)
    assert fetch(address, tmp_path / "into") == folder
    assert registry.asked[files:] == ["bundle/artifacts/bundle/manifest.json"]  # nothing is copied again
    assert left_in(tmp_path / "into") == [folder.name]


def test_a_copy_that_was_damaged_is_copied_again(registry, tmp_path):
    folder = fetch(ADDRESS, tmp_path / "into")
    (folder / "detector.bin").write_bytes(b"worn out")
    assert fetch(ADDRESS, tmp_path / "into") == folder
    assert sha256_of_tree(folder) == sha256_of_tree(registry.bundle)


def test_a_published_folder_tells_which_version_runs(published, bundle, tmp_path):
    folder = fetch(str(published), tmp_path / "into")
    assert sha256_of_tree(folder) == sha256_of_tree(bundle)
    shutil.rmtree(published / "3")
    assert load_bundle(folder).labels  # the share may go away


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def change_manifest(folder, **values):
    path = folder / MANIFEST
    write_json(path, json.loads(path.read_text()) | values)


DAMAGE = {
    "an altered network": (lambda folder: alter(folder / "detector.bin"), "detector.bin: expected SHA-256"),
    "a missing network": (lambda folder: (folder / "classifier.xml").unlink(), "classifier.xml"),
    "no origin": (lambda folder: (folder / PROVENANCE).unlink(), PROVENANCE),
    "another manifest": (lambda folder: change_manifest(folder, line="press_b"), "altered"),
    "a newer version": (
        lambda folder: change_manifest(folder, schema_version=MANIFEST_VERSION + 1), "update lineact on this machine"
    ),
    "a file elsewhere": (
        lambda folder: change_manifest(
            folder, files=json.loads((folder / MANIFEST).read_text())["files"] | {"../../evil": "0" * 64}
        ),
        "expected files inside the bundle",
    ),
    "an origin of another": (
        lambda folder: write_json(
            folder / PROVENANCE, json.loads((folder / PROVENANCE).read_text()) | {"manifest_sha256": "0" * 64}
        ),
        "expected the manifest 000000000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_from_everywhere_and_nothing_of_it_stays(damage, registry, published, tmp_path):
    spoil, told = DAMAGE[damage]
    into = tmp_path / "into"
    spoil(registry.bundle)
    spoil(published / "3")
    for address in (ADDRESS, str(published)):
        with pytest.raises(InputError, match=told):
            fetch(address, into)
    assert left_in(into) == []
    if damage != "no origin":  # a plain folder may never have been registered
        if damage == "another manifest":
            told = "expected the manifest"
        with pytest.raises(InputError, match=told):
            load_bundle(registry.bundle)


def test_a_download_that_breaks_off_leaves_nothing_and_works_the_next_time(registry, tmp_path):
    into = tmp_path / "into"
    registry.cut_short = "detector.bin"
    with pytest.raises((RegistryError, InputError)):
        fetch(ADDRESS, into)
    assert left_in(into) == []
    registry.cut_short = "nothing is"
    assert load_bundle(fetch(ADDRESS, into)).labels


@pytest.mark.parametrize(
    "address", ["models:/lineact-press_b@champion", "models:/lineact-press_a@nobody", "models:/lineact-press_a/9"]
)
@pytest.mark.usefixtures("registry")
def test_what_the_registry_has_not_is_told(tmp_path, address):
    with pytest.raises(InputError, match=f"{address}: expected a registered bundle, .* says 404"):
        fetch(address, tmp_path / "into")


@pytest.mark.parametrize(
    "address", ["models:/", "models:/lineact-press_a", "models:/a@", "models:/a/b@c", "models:/@x"]
)
@pytest.mark.usefixtures("registry")
def test_an_address_that_is_none_is_told(tmp_path, address):
    with pytest.raises(ConfigError, match="expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        fetch(address, tmp_path / "into")


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "mlflow.plant:5000"])
def test_a_registry_that_is_no_server_is_told(monkeypatch, tmp_path, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match="expected the registry's address in MLFLOW_TRACKING_URI"):
        fetch(ADDRESS, tmp_path)


def test_a_registry_s_password_in_its_address_is_not_told(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:5000")
    with pytest.raises(ConfigError, match="set MLFLOW_TRACKING_USERNAME") as told:
        fetch(ADDRESS, tmp_path)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("content", [b"<html>log in</html>", b"[]", b"{}", b'{"model_version": {"tags": [{}]}}'])
def test_an_answer_that_is_not_the_registry_s_is_told(registry, monkeypatch, tmp_path, content):
    monkeypatch.setattr(registry, "answer", lambda *_: (200, content))
    with pytest.raises(RegistryError, match="is MLFLOW_TRACKING_URI the address of MLflow"):
        name_at(ADDRESS)
    with pytest.raises(RegistryError, match="is MLFLOW_TRACKING_URI the address of MLflow"):
        fetch(ADDRESS, tmp_path)


def test_an_answer_about_a_version_that_breaks_off_is_told(registry):
    registry.cut_short = "alias=champion"
    with pytest.raises(RegistryError, match="broke off"):
        name_at(ADDRESS)


def test_a_registry_that_is_away_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RegistryError, match="does not answer"):
        fetch(ADDRESS, tmp_path)


@pytest.mark.parametrize(
    ("environment", "sent"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "x:y"}, "Basic YW5uOng6eQ=="),
    ],
)
def test_the_registry_gets_mlflows_own_credentials(registry, tmp_path, monkeypatch, environment, sent):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fetch(ADDRESS, tmp_path / "into")
    assert registry.authorizations == {sent}


@pytest.mark.services
def test_a_real_registry_gives_the_champion_and_publishes_it(released, tmp_path, monkeypatch):
    from flows.publish import publish

    registry = RealRegistry(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.url)
    with registry.up():
        exported = released / "export/bundle"
        run_id = registry.release("press_a", exported, ORIGIN)
        folder = fetch(ADDRESS, tmp_path / "into")
        assert sha256_of_tree(exported)[:12] in folder.name
        origin = read_provenance(folder)
        assert origin is not None
        assert (origin.run_id, origin.git_commit) == (run_id, "c0ffee")
        assert load_bundle(folder).logits_difference() < 1e-3
        line = publish("press_a", tmp_path / "published")
        copied = fetch(str(line), tmp_path / "elsewhere")
        assert sha256_of_tree(copied) == sha256_of_tree(folder)
