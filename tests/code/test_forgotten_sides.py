"""The side that a move left still shows a recording: it is named, with the way out, until its plots are gone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.forgotten_sides import left_sides
from tests.plant_services import BUCKET, KEY, SECRET, Store

ROOT = Path(__file__).resolve().parents[2]
OLD = Path(".lineact/moved/20260101T000000.0Z")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    Path("conf").mkdir()
    begin_using("embedded")
    return tmp_path


def begin_using(use: str, **changes: dict) -> None:
    content = yaml.safe_load((ROOT / "conf/services.yaml").read_text())
    Path("conf/services.yaml").write_text(yaml.safe_dump(content | {"use": use} | changes))


def make_plots(folder: Path) -> None:
    plots = folder / "1/run/artifacts/plots"
    plots.mkdir(parents=True)
    (plots / "contact_sheet.png").write_bytes(b"a picture")


@pytest.mark.usefixtures("checkout")
def test_what_was_put_aside_is_named_until_it_is_removed():
    make_plots(OLD / "mlruns")
    (OLD.parent / "unfinished").mkdir()  # databases alone show nothing
    for use in ("embedded", "services"):
        begin_using(use)
        assert left_sides() == {str(OLD): f"has plots of runs; remove it: rm -r {OLD}"}
    shutil.rmtree(OLD)
    assert left_sides() == {}


@pytest.mark.usefixtures("checkout")
def test_the_embedded_side_is_named_while_services_are_in_use():
    make_plots(Path("mlruns"))
    assert left_sides() == {}
    begin_using("services")
    assert left_sides() == {"mlruns": "has plots of runs, and services are in use; remove it: rm -r mlruns mlflow.db"}
    shutil.rmtree("mlruns")
    assert left_sides() == {}


@pytest.mark.services
@pytest.mark.usefixtures("checkout")
def test_a_store_that_was_left_is_named_while_it_has_plots_or_does_not_answer(monkeypatch):
    import fsspec

    store = Store()
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (
        keys | {"AWS_ENDPOINT_URL_S3": store.endpoint, "MLFLOW_S3_ENDPOINT_URL": store.endpoint}
    ).items():
        monkeypatch.setenv(name, value)
    begin_using("embedded", s3={"endpoint": store.endpoint, "region": "us-east-1"})
    name = "mlflow/1/run/artifacts/plots/contact_sheet.png"
    store.client.put_object(Bucket=BUCKET, Key=name, Body=b"a picture")
    assert left_sides() == {}  # nothing was ever moved from here: it is another plant's
    subprocess.run([sys.executable, "-m", "dvc", "remote", "add", "-q", "services", "s3://lineact/dvc"], check=True)
    (words,) = left_sides().values()
    assert "has plots of runs, and the embedded side is in use; remove that folder in the store" in words
    store.client.delete_object(Bucket=BUCKET, Key=name)
    fsspec.filesystem("s3").invalidate_cache()
    assert left_sides() == {}
    store.stop()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").invalidate_cache()
    (words,) = left_sides().values()
    assert "did not answer" in words
    assert "dvc remote remove services" in words
