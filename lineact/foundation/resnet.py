"""timm ResNets from a folder or a hub name, in timm's own hub layout."""

from typing import TYPE_CHECKING, Any

from lineact.foundation.timm_config import build_described, preprocessing_of
from lineact.foundation.weights import Preprocessing, load_strictly, read_config, read_tensors

if TYPE_CHECKING:
    from timm.models.resnet import ResNet


def load_resnet(
    name_or_folder: str, revision: str | None = None, *, class_count: int = 0
) -> tuple["ResNet", Preprocessing]:
    """Loads a `timm.models.resnet.ResNet`.

    Args:
        name_or_folder: a folder or hub name (e.g. "timm/resnet18.a1_in1k") with config.json (architecture, model_args,
            pretrained_cfg) and model.safetensors.
        revision: the hub's commit.
        class_count: outputs of a new, randomly initialised head; 0 returns pooled features (N x channels).

    Returns:
        The module in training mode and float32, and how images become its pixels.

    Raises:
        InputError: where files are missing or do not fit.
    """
    config = read_config(name_or_folder, revision)
    model = build_resnet(config, name_or_folder, class_count=class_count)
    tensors = read_tensors(name_or_folder, revision)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    head = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("fc.")}
    load_strictly(model, kept | head, name_or_folder)
    return model, preprocessing_of(config, name_or_folder)


def build_resnet(config: dict[str, Any], where: str, *, class_count: int = 0) -> "ResNet":
    """Builds the architecture that a config.json describes, with random weights.

    Args:
        config: "architecture" (a timm name) and "model_args" (its arguments).
        where: what to call the config in errors.
        class_count: outputs of the head, 0 for none.

    Raises:
        InputError: where it is no ResNet that timm knows.
    """
    from timm.models.resnet import ResNet

    return build_described(config, ResNet, where, num_classes=class_count)
