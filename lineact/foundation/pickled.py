"""Weights that come as a pickle: refused wherever weights are read, and made safetensors once, by a command.

    python -m lineact.foundation.pickled rgb_imagenet.pt models/i3d.safetensors --sha256 HEX

A pickle is a program: whoever wrote the file decides what happens when it is read. The command reads one only where
its hash is the one that its publisher tells, and then with loaders that build tensors and known modules and call
nothing else. A file of tensors by name becomes a .safetensors file, a detector of ultralytics a folder with
detector.yaml and model.safetensors.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.errors import InputError, LineactError
from lineact.files import sha256_of_file, write_json, write_whole
from lineact.foundation.weights import CONVERT, WEIGHTS

if TYPE_CHECKING:
    import torch

DETECTOR_YAML = "detector.yaml"
SOURCE = "source.json"  # of a converted folder: which file it was made of


def convert(path: Path, to: Path, sha256: str) -> Path:
    """Makes safetensors of a pickle.

    Args:
        path: the .pt or .pth file.
        to: a .safetensors file for tensors by name; a folder for a detector of ultralytics. Is made.
        sha256: what the file's hash must be.

    Returns:
        `to`.

    Raises:
        InputError: where there is no such file, its hash is another, `to` exists, or what is in it is neither.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file with weights, found none")
    if to.exists():
        raise InputError(f"{to}: exists already; name another place")
    found = sha256_of_file(path)
    if found != sha256.lower():
        raise InputError(f"{path}: expected SHA-256 {sha256}, found {found}: another file, or an altered one")
    tensors = _tensors_in(path)
    if tensors is None:
        convert_detector(path, to)
        return to
    if to.suffix != ".safetensors":
        raise InputError(f"{to}: expected a name that ends in .safetensors for a file of tensors")
    from safetensors.torch import save_file

    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    write_whole(to, lambda temporary: save_file(whole, temporary, metadata={"source_sha256": found}))
    return to


def convert_detector(path: Path, to: Path) -> None:
    """Makes a folder with detector.yaml and model.safetensors of a detector of ultralytics, for one class.

    Class outputs of another number of classes get the same random numbers each time.

    Args:
        path: ultralytics' file, read by its loader that runs nothing.
        to: the folder; is made.

    Raises:
        InputError: where it holds something else, or what must not be run.
    """
    import torch
    import yaml
    from safetensors.torch import save_file

    from lineact.foundation.yolov5 import import_ultralytics

    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, load_checkpoint

    try:
        stored, _ = load_checkpoint(str(path))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = DetectionModel(stored.yaml | {"nc": 1}, verbose=False)
        model.load(stored, verbose=False)
    except Exception as error:  # ultralytics raises many kinds for a file that it cannot read, or refuses to run
        raise InputError(
            f"weights {str(path)!r}: expected tensors by name, or a detector of ultralytics, and nothing else, "
            f"found something else ({type(error).__name__}); ways out: name another file, or set `foundation: tiny`"
        ) from error
    described: Any = vars(model)["yaml"]
    tensors = {name: tensor.float().contiguous().clone() for name, tensor in model.state_dict().items()}

    def write(folder: Path) -> None:
        folder.mkdir()
        (folder / DETECTOR_YAML).write_text(yaml.safe_dump(described, sort_keys=False))
        save_file(tensors, folder / WEIGHTS)
        write_json(folder / SOURCE, {"file": path.name, "sha256": sha256_of_file(path)})

    write_whole(to, write)


def _tensors_in(path: Path) -> "dict[str, torch.Tensor] | None":
    """Tensors by name, also below the name "model"; None where the file holds something else."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a torn file may raise anything, and classes that are no tensors are ultralytics' to read
        return None
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        return None
    return dict(found)


def main(arguments: list[str]) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog=CONVERT, description="makes safetensors of weights that are a pickle")
    parser.add_argument("path", type=Path, metavar="FILE", help=".pt or .pth")
    parser.add_argument("to", type=Path, metavar="TO", help="a new .safetensors file; a new folder for a detector")
    parser.add_argument("--sha256", required=True, help="the file's hash, as its publisher tells it")
    asked = parser.parse_args(arguments)
    try:
        print(convert(asked.path, asked.to, asked.sha256))
    except LineactError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
