"""services/*.service start commands that exist, with arguments that these take, and give up where these say so."""

import shlex
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from lineact.errors import ConfigError
from lineact.runtime.__main__ import arguments_of

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "services").glob("*.service"))


def service_of(path: Path) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    return dict(parser["Service"])


def test_there_is_one_for_the_plant_and_one_for_a_station():
    assert [path.name for path in UNITS] == ["lineact-station@.service", "lineact.service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_module_of_the_project_until_its_settings_are_wrong(path):
    service = service_of(path)
    python, is_module, module, *_ = shlex.split(service["ExecStart"])
    assert (Path(python).name, is_module) == ("python", "-m")
    assert find_spec(module) is not None
    assert str(ConfigError.exit_code) in service["RestartPreventExitStatus"].split()


def test_a_station_s_unit_gives_arguments_that_the_recogniser_takes():
    path = ROOT / "services/lineact-station@.service"
    (given,) = (line.split("STATION=")[1].split("'")[0] for line in path.read_text().splitlines() if "STATION=" in line)
    command = service_of(path)["ExecStart"].replace("%i", "top").replace("$STATION", given)
    arguments = arguments_of(shlex.split(command)[3:])
    assert (arguments.out, arguments.camera) == (Path("events/top"), "top")
    assert arguments.bundle == "models:/lineact-press_a@champion"
