"""Grounding DINO (Hugging Face port), asked with words. Reads weights by hub name and revision, or from a folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lineact.detect.backend import Detections, Recording, detect_in_batches, refuse_unusable_sizes
from lineact.detect.prompt import PromptParams, prompt_text, refuse_long_text
from lineact.errors import InputError
from lineact.files import is_full_disk, sha256_of_tree
from lineact.foundation.weights import CONFIG, find_file, read_config, reason_of, source_of

EMBEDDED = "embedded"  # in the place of a name: the weights of models/foundation/tiny
MODEL_TYPE = "grounding-dino"  # transformers' word, in config.json
BELOW_EVERY_SCORE = -1.0
CODE_VERSION = 1  # raise it where the same frames and settings give other boxes


@dataclass(frozen=True)
class GroundingDinoParams(PromptParams):
    """Settings of the backend `grounding_dino`, beside those of every prompt.

    Attributes:
        weights: hub name, or a local folder in the hub's layout; or "embedded", see `DetectParams.with_embedded`.
        revision: the hub's commit, branch or tag; ignored for a folder.
        precision: "float32", or "auto": bfloat16 where the machine computes in it. Its boxes differ a little from one
            kind of machine to the other.
        engine: "torch", or "auto": OpenVINO on a machine without a GPU, which is faster there once it has converted the
            network. In float32 both give the same boxes but for rounding.
    """

    weights: str
    revision: str
    precision: Literal["float32", "auto"]
    engine: Literal["torch", "auto"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.weights:
            raise ValueError("weights must be a hub name or a folder, found nothing")


@dataclass(frozen=True)
class Queries:
    """What all queries of the decoder say of one image.

    Attributes:
        boxes_xyxy_px: float32, Q x 4, pixels of the source frame, not cut at its border.
        token_probabilities: float32, Q x L, 0 to 1, of each of the prompt's L tokens; a box's score is the greatest.
    """

    boxes_xyxy_px: np.ndarray
    token_probabilities: np.ndarray


class GroundingDino:
    """The backend `grounding_dino`. The model is loaded when the first frame is not stored yet."""

    def __init__(self, params: GroundingDinoParams) -> None:
        self.params = params
        revision = _revision(params)
        _refuse_other_architecture(params)
        self.key: dict[str, object] = {
            "backend": "grounding_dino",
            "settings": params.answer_settings,
            "weights": revision,
            "code": CODE_VERSION,
        }
        if params.precision == "auto" and _computes_in_bfloat16():
            self.key["precision"] = "bfloat16"
        if params.engine == "auto" and not _has_gpu():
            self.key["engine"] = "openvino"

    def load(self) -> None:
        """Loads the model and reads the prompt now instead of at the first frame.

        Raises:
            InputError: where the weights are not those of their config.json, or the prompt is too long for them.
        """
        _ = self._text

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        """Regions on the frames at these times, in ascending order of time."""
        return detect_in_batches(self, recording, pts_s, self.params.batch_size)

    def detect_images(self, images_rgb: Sequence[np.ndarray]) -> list[Detections]:
        """Regions on each image (uint8, H x W x 3) with a score of at least `score_floor`."""
        found = self._post_processed(images_rgb, self._forward(images_rgb), self.params.score_floor)
        return [
            Detections(
                one["boxes"].cpu().numpy().astype(np.float32),
                one["scores"].cpu().numpy().astype(np.float32),
                phrases_of(one),
            )
            for one in found
        ]

    def queries(self, images_rgb: Sequence[np.ndarray]) -> list[Queries]:
        """What every query of the decoder says of each image (uint8, H x W x 3), before any threshold."""
        output = self._forward(images_rgb)
        probabilities = output.logits.sigmoid()[..., : self._text["input_ids"].shape[1]]  # N x Q x L
        found = self._post_processed(images_rgb, output, BELOW_EVERY_SCORE)
        return [
            Queries(one["boxes"].cpu().numpy().astype(np.float32), of_image.cpu().numpy().astype(np.float32))
            for one, of_image in zip(found, probabilities, strict=True)
        ]

    def _forward(self, images_rgb: Sequence[np.ndarray]) -> Any:
        """The model's own output for a batch."""
        import torch

        refuse_unusable_sizes(images_rgb)
        if "engine" in self.key:
            return self._openvino([self._prepared([image])["pixel_values"] for image in images_rgb])
        _, model = self._loaded
        images = self._prepared(images_rgb).to(model.device)
        text = {name: ids.expand(len(images_rgb), -1) for name, ids in self._text.items()}
        lower = "precision" in self.key
        with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=lower):
            output = model(**images, **text)
        output.logits = output.logits.float()
        return output

    def _prepared(self, images_rgb: Sequence[np.ndarray]) -> Any:
        """Scaled, normalised and padded to one size: `pixel_values` N x 3 x H x W, and `pixel_mask`."""
        processor, _ = self._loaded
        return processor.image_processor(images=list(images_rgb), return_tensors="pt")

    def _post_processed(self, images_rgb: Sequence[np.ndarray], output: Any, threshold: float) -> list[dict[str, Any]]:
        """Boxes in pixels, scores and phrases of the queries that score above a threshold."""
        processor, _ = self._loaded
        return processor.post_process_grounded_object_detection(
            output,
            self._text["input_ids"].expand(len(images_rgb), -1),
            threshold=threshold,
            text_threshold=self.params.text_threshold,
            target_sizes=[image.shape[:2] for image in images_rgb],
        )

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Processor and model, whose text branch runs once per prompt."""
        import torch

        from lineact.detect.text_once import EncodedOnce

        processor, model = load_grounding_dino(self.params)
        model.model.text_backbone = EncodedOnce(model.model.text_backbone)
        return processor, model.eval().to(torch.device("cuda" if _has_gpu() else "cpu"))

    @cached_property
    def _openvino(self) -> Any:
        """The same network by OpenVINO."""
        from lineact.detect.grounding_openvino import OpenVinoNetwork

        _, model = self._loaded
        return OpenVinoNetwork(model, self._text, str(self.key["weights"]), bfloat16="precision" in self.key)

    @cached_property
    def _text(self) -> dict[str, Any]:
        """The tokenised prompt, each 1 x L."""
        processor, model = self._loaded
        text = processor.tokenizer(prompt_text(self.params.prompt), return_tensors="pt", return_token_type_ids=True)
        refuse_long_text(text["input_ids"].shape[1], model.config.max_text_len, "grounding_dino")
        return dict(text.to(model.device))


def phrases_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The phrases of transformers' answer for one image, one per box: for no boxes it gives one empty phrase."""
    return tuple(found["text_labels"]) if len(found["scores"]) else ()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _computes_in_bfloat16() -> bool:
    """Whether this machine multiplies matrices of bfloat16, instead of imitating it."""
    import torch

    if _has_gpu():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _revision(params: GroundingDinoParams) -> str:
    """What names the weights' exact bytes: a folder's hash, or the hub's commit."""
    folder = Path(params.weights)
    if folder.is_dir():
        return sha256_of_tree(folder)
    try:
        config = find_file(params.weights, CONFIG, params.revision)
    except InputError as error:
        raise _missing(params, error.__cause__ or error) from error
    assert config is not None
    return config.parent.name  # the hub's cache keeps files under .../snapshots/<commit>/


def load_grounding_dino(params: GroundingDinoParams) -> tuple[Any, Any]:
    """Processor and model, in float32.

    Raises:
        InputError: where they are missing or do not belong together.
    """
    import torch
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    _refuse_other_architecture(params)
    try:
        source = source_of(params.weights, params.revision)
        processor = AutoProcessor.from_pretrained(source, revision=params.revision)
        loaded: Any = GroundingDinoForObjectDetection.from_pretrained(
            source,
            revision=params.revision,
            use_safetensors=True,  # a .bin file is a pickle
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        if is_full_disk(error, Path()):
            raise
        raise _missing(params, error) from error
    except RuntimeError as error:  # shapes
        raise _unlike_config(params.weights, str(error).splitlines()[0]) from error
    model, report = loaded
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise _unlike_config(params.weights, f"{len(missing)} are missing, the first is {missing[0]}")
    return processor, model


def _refuse_other_architecture(params: GroundingDinoParams) -> None:
    """transformers would load another model's weights with a mere warning, and start the rest at random.

    Raises:
        InputError: where config.json describes no Grounding DINO.
    """
    found = read_config(params.weights, params.revision).get("model_type")
    if found != MODEL_TYPE:
        raise InputError(
            f"{params.weights}: expected the weights of a {MODEL_TYPE}, found {found!r} in its {CONFIG}; set "
            "detect.grounding_dino.weights to another folder or name"
        )


def _unlike_config(weights: str, found: str) -> InputError:
    return InputError(
        f"{weights}: expected the weights that its {CONFIG} describes, found others ({found}); copy all files of the "
        "model again"
    )


def _missing(params: GroundingDinoParams, error: BaseException) -> InputError:
    return InputError(
        f"Grounding DINO weights {params.weights!r} (revision {params.revision}): expected a local folder in the hub's "
        f"layout, or a hub name that is cached or can be fetched, found neither ({reason_of(error)}); ways out: set "
        "detect.grounding_dino.weights to a local folder with the model's files, or choose `detector: motion`, which "
        "needs no weights"
    )
