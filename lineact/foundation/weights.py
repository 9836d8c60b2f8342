"""Finding weights: a local folder in the hub's layout, or a hub name whose files are cached or can be fetched."""

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from lineact.errors import FullDiskError, InputError
from lineact.files import is_full_disk, sha256_of_tree

if TYPE_CHECKING:
    import torch

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
DIFFERENCE_CHARACTERS = 200  # torch names every missing weight in one line
CONVERT = "python -m lineact.foundation.pickled"
WEIGHTS_INDEX = "model.safetensors.index.json"
_REASONS = {  # what huggingface_hub's errors mean here
    "LocalEntryNotFoundError": "it is not cached, and the hub does not answer: no network?",
    "RepositoryNotFoundError": "the hub knows no such name, or does not show it to you",
    "GatedRepoError": "the hub does not show it to you before you accept its terms",
    "RevisionNotFoundError": "the hub knows no such revision of it",
    "EntryNotFoundError": "the hub has no such file of it",
    "HFValidationError": "no such folder, and no name that the hub could know",
}


@dataclass(frozen=True)
class Preprocessing:
    """What an image becomes before the network sees it.

    Attributes:
        side_px: side of the square input.
        mean: per channel (RGB), of values scaled to 0..1.
        std: likewise.
    """

    side_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_tensor(self, crops_rgb: Any) -> "torch.Tensor":
        """Scales and normalises crops.

        Args:
            crops_rgb: uint8, N x H x W x 3 (array or tensor).

        Returns:
            float32, N x 3 x side_px x side_px.
        """
        import torch

        images = torch.as_tensor(crops_rgb).permute(0, 3, 1, 2).float() / 255  # N x 3 x H x W
        if images.shape[-2:] != (self.side_px, self.side_px):
            size = (self.side_px, self.side_px)
            images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True)
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (images - mean[:, None, None]) / std[:, None, None]


def find_file(
    name_or_folder: str, filename: str, revision: str | None = None, *, optional: bool = False
) -> Path | None:
    """One file of a model: in the folder, in the hub's cache, or fetched.

    Args:
        name_or_folder: a local folder in the hub's layout, or a hub name such as "Salesforce/blip2-opt-2.7b".
        filename: path inside it.
        revision: the hub's commit, branch or tag; ignored for a folder.
        optional: whether a model may lack this file.

    Returns:
        Its path; None where it is optional and the model has none.

    Raises:
        InputError: where the folder lacks the file, or the name is not cached and cannot be fetched.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        if (folder / filename).is_file():
            return folder / filename
        if optional:
            return None
        raise InputError(
            f"{folder}: expected a model folder with {filename}, found none; copy all files of the model there"
        )
    from huggingface_hub import _CACHED_NO_EXIST, constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # the hub said so once; it is not asked again
        if optional and try_to_load_from_cache(name_or_folder, filename, revision=revision) is _CACHED_NO_EXIST:
            return None
        return Path(hf_hub_download(name_or_folder, filename, revision=revision))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        # LocalEntryNotFoundError (offline, not cached) is an EntryNotFoundError too, but says nothing of the model.
        if optional and isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        if optional and isinstance(error, LocalEntryNotFoundError):
            return None
        if is_full_disk(error, Path(constants.HF_HUB_CACHE)):
            raise FullDiskError(Path(constants.HF_HUB_CACHE)) from error
        raise InputError(
            f"weights {name_or_folder!r} ({filename}): expected a local folder or a hub name whose files are cached or "
            f"can be fetched, found neither ({reason_of(error)}); ways out: name a local folder that holds the "
            "model, or set `foundation: tiny` in the line's config to use the embedded weights"
        ) from error


def source_of(name_or_folder: str, revision: str | None = None) -> str:
    """What transformers is to load: the folder in the cache once a hub name's weights are all there, else the name.

    By a folder it asks no network. By a name it looks for optional files anew each time, half a minute for each of them
    where there is no network. Weights are fetched last, so the other files are there where they are.

    Args:
        name_or_folder: see `find_file`.
        revision: see `find_file`.

    Raises:
        InputError: where a hub name is neither cached nor can be fetched.
    """
    config = find_file(name_or_folder, CONFIG, revision)
    assert config is not None
    index = config.parent / WEIGHTS_INDEX
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {WEIGHTS}
    return str(config.parent) if all((config.parent / name).is_file() for name in names) else name_or_folder


def reason_of(error: BaseException) -> str:
    """What an error of huggingface_hub means here, in words."""
    return _REASONS.get(type(error).__name__, type(error).__name__)


def identity_of(name_or_folder: str, revision: str | None = None) -> str:
    """What tells these weights from others: the hash of a folder's files, or a hub name with its commit.

    The hub's cache keeps a model below its commit, so that "the newest" has an identity, too.

    Args:
        name_or_folder: see `find_file`.
        revision: see `find_file`; None for the newest.

    Raises:
        InputError: where a hub name is neither cached nor can be fetched.
    """
    if Path(name_or_folder).is_dir():
        return sha256_of_tree(Path(name_or_folder))
    config = find_file(name_or_folder, CONFIG, revision)
    assert config is not None
    return f"{name_or_folder}@{config.parent.name}"


def read_config(name_or_folder: str, revision: str | None = None) -> dict[str, Any]:
    """The model's config.json.

    Raises:
        InputError: where it is missing or no JSON mapping.
    """
    path = find_file(name_or_folder, CONFIG, revision)
    assert path is not None
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found something else ({error}); copy the model again") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a mapping, found {type(config).__name__}; copy the model again")
    return config


def read_preprocessing(name_or_folder: str, revision: str | None, image_size: object) -> Preprocessing:
    """How images become the pixels of a transformers model: its preprocessor_config.json, or else CLIP's numbers.

    Args:
        name_or_folder: see `find_file`.
        revision: see `find_file`.
        image_size: from the model's config.

    Raises:
        InputError: where the input is not square.
    """
    if not isinstance(image_size, int):
        raise InputError(f"{name_or_folder}: expected a square image_size, found {image_size}")
    path = find_file(name_or_folder, "preprocessor_config.json", revision, optional=True)
    values = json.loads(path.read_text()) if path else {}
    mean, std = values.get("image_mean", CLIP_MEAN), values.get("image_std", CLIP_STD)
    return Preprocessing(image_size, tuple(mean), tuple(std))


def read_tensors(name_or_folder: str, revision: str | None = None, prefix: str = "") -> dict[str, "torch.Tensor"]:
    """Tensors whose names begin with a prefix, from safetensors; of sharded weights only the shards that hold some.

    Args:
        name_or_folder: see `find_file`.
        revision: see `find_file`.
        prefix: e.g. "vision_model."; cut from the names returned.

    Returns:
        Name to tensor, in the file's own dtype. Empty where no name begins so.

    Raises:
        InputError: where a file is missing or broken.
    """
    index = find_file(name_or_folder, WEIGHTS_INDEX, revision, optional=True)
    if index is None:
        filenames = [WEIGHTS]
    else:
        weight_map = json.loads(index.read_text())["weight_map"]
        filenames = sorted({filename for name, filename in weight_map.items() if name.startswith(prefix)})
    tensors: dict[str, torch.Tensor] = {}
    for filename in filenames:
        path = find_file(name_or_folder, filename, revision)
        assert path is not None
        tensors |= read_safetensors(path, prefix)
    return tensors


def read_safetensors(path: Path, prefix: str = "") -> dict[str, "torch.Tensor"]:
    """Tensors of one file whose names begin with a prefix, which is cut.

    Raises:
        InputError: where the file is missing or broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name[len(prefix) :]: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(
            f"{path}: expected safetensors, found something else ({error}); copy the model again"
        ) from error


def refuse_pickle(path: Path) -> None:
    """Lets safetensors through.

    Raises:
        InputError: on any other file, with the way out.
    """
    if path.suffix != ".safetensors":
        raise InputError(
            f"{path}: expected weights as .safetensors, found {path.suffix or 'no suffix'}: a pickle is a program, so "
            f"it is not read. `{CONVERT} {path} NEW --sha256 HEX` makes safetensors of a file whose hash you know"
        )


def load_strictly(module: "torch.nn.Module", tensors: dict[str, "torch.Tensor"], where: str) -> None:
    """Loads tensors into a module (cast to its dtype); every name must fit.

    Raises:
        InputError: where names or shapes differ.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        found = (
            " ".join(str(error).splitlines()[1:2]).strip().rstrip(".")
        )  # under torch's headline the first difference
        raise InputError(
            f"{where}: weights do not fit the architecture in its config "
            f"({shorten(found, DIFFERENCE_CHARACTERS, placeholder=' ...')}); are all its files of one model?"
        ) from error
