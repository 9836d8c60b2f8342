"""Grounding DINO (the original package groundingdino-py), asked with words. Reads local files, fetches nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lineact.detect.backend import Detections, Recording, detect_in_batches, refuse_unusable_sizes
from lineact.detect.prompt import PromptParams, prompt_text, refuse_long_text
from lineact.errors import InputError
from lineact.files import sha256_of_file, sha256_of_tree
from lineact.foundation.weights import read_safetensors, refuse_pickle

CODE_VERSION = 1  # raise it where the same frames and settings give other boxes
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the package's own load_image
SHORTER_SIDE_PX, LONGER_SIDE_MAX_PX = 800, 1333  # likewise


@dataclass(frozen=True)
class GroundingDinoPyParams(PromptParams):
    """Settings of the backend `groundingdino_py`, beside those of every prompt.

    Attributes:
        config: the model's configuration, a Python file such as the package's GroundingDINO_SwinT_OGC.py.
        checkpoint: its weights, .safetensors.
        text_encoder: folder of the BERT model with its tokenizer.
    """

    config: str
    checkpoint: str
    text_encoder: str


class GroundingDinoPy:
    """The backend `groundingdino_py`. The model is loaded when the first frame is not stored yet."""

    def __init__(self, params: GroundingDinoPyParams) -> None:
        self.params = params
        for name, exists in (("config", Path.is_file), ("checkpoint", Path.is_file), ("text_encoder", Path.is_dir)):
            path = Path(getattr(params, name))
            if not exists(path):
                raise InputError(
                    f"{path}: expected detect.groundingdino_py.{name} there, found nothing; ways out: copy the "
                    "original release there, or choose `detector: grounding_dino` or `detector: motion`"
                )
        refuse_pickle(Path(params.checkpoint))
        self.key: dict[str, object] = {
            "backend": "groundingdino_py",
            "settings": params.answer_settings,
            "config": sha256_of_file(Path(params.config)),
            "checkpoint": sha256_of_file(Path(params.checkpoint)),
            "text_encoder": sha256_of_tree(Path(params.text_encoder)),
            "code": CODE_VERSION,
        }

    def load(self) -> None:
        """Loads the model now instead of at the first frame.

        Raises:
            InputError: where the weights are not those of the configuration, or the prompt is too long for them.
        """
        _ = self._model

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        """Regions on the frames at these times, in ascending order of time."""
        return detect_in_batches(self, recording, pts_s, self.params.batch_size)

    def detect_images(self, images_rgb: Sequence[np.ndarray]) -> list[Detections]:
        """Regions on each image (uint8, H x W x 3) with a score above `score_floor`."""
        import torch
        from groundingdino.util.misc import nested_tensor_from_tensor_list

        refuse_unusable_sizes(images_rgb)
        model = self._model
        device = next(model.parameters()).device
        samples = nested_tensor_from_tensor_list([_to_tensor(image) for image in images_rgb]).to(device)
        with torch.inference_mode():
            output = model(samples, captions=[prompt_text(self.params.prompt)] * len(images_rgb))
        pairs = zip(output["pred_logits"].sigmoid().cpu(), output["pred_boxes"].cpu(), images_rgb, strict=True)
        return [self._detections(probabilities, boxes, image) for probabilities, boxes, image in pairs]

    def _detections(self, probabilities: Any, boxes_cxcywh: Any, image_rgb: np.ndarray) -> Detections:
        """One image's queries (Q x tokens, Q x 4 as shares of the image) above the floor."""
        from groundingdino.util.utils import get_phrases_from_posmap

        scores = probabilities.max(dim=1).values  # Q
        chosen = scores > self.params.score_floor
        tokenizer = self._model.tokenizer
        tokens = tokenizer(prompt_text(self.params.prompt))
        phrases = [
            get_phrases_from_posmap(row > self.params.text_threshold, tokens, tokenizer).replace(".", "").strip()
            for row in probabilities[chosen]
        ]
        height, width = image_rgb.shape[:2]
        boxes = boxes_cxcywh[chosen].numpy() * np.array([width, height, width, height], np.float32)
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
        return Detections(corners.astype(np.float32), scores[chosen].numpy().astype(np.float32), tuple(phrases))

    @cached_property
    def _model(self) -> Any:
        """The model, whose text branch runs once per prompt."""
        import torch
        from groundingdino.models import build_model
        from groundingdino.util.misc import clean_state_dict
        from groundingdino.util.slconfig import SLConfig

        from lineact.detect.bert_masks import local_text_encoder
        from lineact.detect.text_once import EncodedOnce

        arguments = SLConfig.fromfile(self.params.config)
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
        arguments.use_checkpoint = arguments.use_transformer_ckpt = False  # they spare memory in training only
        arguments.text_encoder_type = self.params.text_encoder
        with local_text_encoder():
            model = build_model(arguments)
        state = read_safetensors(Path(self.params.checkpoint))
        missing, unexpected = model.load_state_dict(clean_state_dict(state), strict=False)
        # Buffers that newer versions of BERT compute for themselves may differ; weights may not.
        named = {name for name, _ in model.named_parameters()}
        absent = sorted(named.intersection(missing))
        if absent:
            raise InputError(
                f"{self.params.checkpoint}: expected the weights of {self.params.config}, found {len(absent)} missing "
                f"(first: {absent[0]}) and {len(unexpected)} unknown; name the configuration that belongs to it"
            )
        token_ids = model.tokenizer(prompt_text(self.params.prompt))["input_ids"]
        refuse_long_text(len(token_ids), model.max_text_len, "groundingdino_py")  # the package would cut it off
        model.bert = EncodedOnce(model.bert)
        return model.to(arguments.device).eval()


def _to_tensor(image_rgb: np.ndarray) -> Any:
    """Scaled and normalised as the package's own `load_image` does: float32, 3 x h x w."""
    import groundingdino.datasets.transforms as transforms
    from PIL import Image

    steps = transforms.Compose(
        [
            transforms.RandomResize([SHORTER_SIDE_PX], max_size=LONGER_SIDE_MAX_PX),  # of one size: nothing random
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return steps(Image.fromarray(image_rgb), None)[0]
