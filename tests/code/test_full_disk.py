"""A disk that is really full: every kind of writer ends in one line that names the file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE_KB = 200
NO_ROOM = "No space left on device; free some space and run the same command again: finished work is kept"

# Each body writes far more than fits to target.
WRITERS = {
    "plain": "write_bytes(target, bytes(10**6))",
    "safetensors": (
        "import torch; from safetensors.torch import save_file\n"
        "write_whole(target, lambda path: save_file({'w': torch.zeros(10**6)}, path))"
    ),
    "numpy": "import numpy as np\nwrite_whole(target, lambda path: np.save(path.with_suffix('.npy'), np.zeros(10**6)))",
    "torch": "import torch\nwrite_whole(target, lambda path: torch.save(torch.zeros(10**6), path))",
    "parquet": (
        "import pyarrow as pa, pyarrow.parquet as pq, numpy as np\n"
        "write_whole(target, lambda path: pq.write_table(pa.table({'x': np.random.rand(10**6)}), path))"
    ),
    "copied_folder": "import shutil\nwrite_whole(target, lambda path: shutil.copytree(sys.argv[2], path))",
    "picture": (
        "import numpy as np; from lineact.png import encode_png\n"
        "write_bytes(target, encode_png(np.random.randint(0, 255, (500, 500, 3), np.uint8)))"
    ),
    "video": (
        "import numpy as np; from tests.generated_videos import write_video\n"
        "frames = [np.random.randint(0, 255, (180, 320, 3), np.uint8) for _ in range(30)]\n"
        "write_whole(target, lambda path: write_video(path.with_suffix('.avi'), frames, codec='mpeg4'))"
    ),
    "chart": (
        "import numpy as np; from matplotlib.figure import Figure\n"
        "figure = Figure(); figure.subplots().imshow(np.random.rand(600, 600, 3))\n"
        "write_whole(target, lambda path: figure.savefig(path, dpi=400, format='png'))"
    ),
}
WRITE = """
import sys; from pathlib import Path
from flows import command_line
from lineact.files import write_bytes, write_whole
target = Path(sys.argv[1])
def main():
    exec(sys.argv[3], globals())
command_line.run(main)
"""
STAGE = """
import os, sys; from dataclasses import dataclass; from pathlib import Path
from tasks import stage
@dataclass(frozen=True)
class Params: pass
def fill(params, *, out: Path):
    exec(code, globals() | {"out": out})
code = sys.argv.pop()
stage.section_of = lambda _, name: '' if name == 'hub_cache' else {}
stage.run_stage(fill, Params)
"""


@pytest.fixture
def on_full_disk(tmp_path):
    """Runs Python code in a namespace of its own, where `folder` is a tiny disk; gives the process and what is left."""
    folder = tmp_path / "disk"
    folder.mkdir()
    probe = ["unshare", "--map-root-user", "--mount", "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("the system refuses user namespaces")

    def run(code: str, *arguments: str | Path) -> tuple[subprocess.CompletedProcess, list[str]]:
        mount = (
            f'mount -t tmpfs -o size={SIZE_KB}k none "$0" && {{ "$@"; code=$?; ls -A "$0" >"$0.left"; exit $code; }}'
        )
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, folder, sys.executable, "-c", code]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done, Path(f"{folder}.left").read_text().split()

    return run


@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_without_room_names_its_file(kind, on_full_disk, tmp_path):
    large = tmp_path / "large"
    large.mkdir()
    (large / "weights").write_bytes(bytes(10**6))
    target = tmp_path / "disk" / "made.bin"
    done, left = on_full_disk(WRITE, target, large, WRITERS[kind])
    assert done.returncode == 74, done.stderr
    assert done.stderr.splitlines()[-1] == f"error: {target}: {NO_ROOM}"
    assert "Traceback" not in done.stderr
    assert "made.bin" not in left


@pytest.mark.parametrize(
    "code",
    [
        "(out / 'table').write_bytes(bytes(10**6))",
        "os.posix_fallocate(os.open(out / 'table', os.O_CREAT | os.O_WRONLY), 0, 10**6)",
        "import numpy as np; np.save(out / 'table.npy', np.zeros(10**6))",
    ],
)
def test_a_stage_without_room_names_its_folder_even_where_the_error_names_no_file(code, on_full_disk, tmp_path):
    disk = tmp_path / "disk"
    done, _ = on_full_disk(STAGE, "--line", "demo", "--out", disk, code)
    assert done.returncode == 74, done.stderr
    assert done.stderr == f"fill@demo: {disk}: {NO_ROOM}\n"


def test_a_database_without_room_is_a_full_disk(on_full_disk, tmp_path):
    """As MLflow writes: SQLite through SQLAlchemy."""
    code = (
        "import sqlalchemy\n"
        "from flows import command_line\n"
        "def main():\n"
        "    with sqlalchemy.create_engine('sqlite:///disk/mlflow.db').begin() as connection:\n"
        "        connection.execute(sqlalchemy.text('create table runs (note blob)'))\n"
        "        connection.execute(sqlalchemy.text('insert into runs values (zeroblob(1000000))'))\n"
        "command_line.run(main)\n"
    )
    done, _ = on_full_disk(code)
    assert done.returncode == 74, done.stderr
    assert done.stderr == f"error: {tmp_path}: {NO_ROOM}\n"
