"""The embedded Grounding DINO: its architecture, a good start for its weights, and how its folder is written.

transformers freezes the normalisation of a convolutional backbone; trained from scratch, it has to learn it first.
`thaw` puts trainable normalisation in place, and `frozen_copy` gives back the class as everybody loads it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.files import write_text, write_whole
from lineact.foundation.weights import CONFIG
from lineact.foundation.words import CONCEPTS, VOCABULARY_SIZE, vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import GroundingDinoForObjectDetection

WIDTH = 64
INPUT_WH = (400, 225)  # pictures are scaled to these edges, shorter and longer
TRAINED_WH = ((320, 180), INPUT_WH)  # in training by turns
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MAX_TOKENS = 128  # of a prompt
START_LOGIT = -4.0  # nearly nothing is what was asked for
_TEXT_BIAS, _VISION_GAIN = 0.5, 0.2


def new_grounding_dino() -> "GroundingDinoForObjectDetection":
    """The tiny model with random weights, whose scores are all low."""
    import torch
    from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, TimmBackboneConfig

    text: dict[str, Any] = {
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    backbone: dict[str, Any] = {"backbone": "resnet10t", "out_indices": [2, 3]}  # strides 8 and 16; 32 is added
    config = GroundingDinoConfig(
        backbone_config=TimmBackboneConfig(**backbone),
        text_config=BertConfig(**text),
        d_model=WIDTH,
        num_feature_levels=3,
        encoder_layers=1,
        decoder_layers=2,  # one layer cannot tie its box heads
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        encoder_n_points=2,
        num_queries=24,
        max_text_len=MAX_TOKENS,
        dropout=0.0,
        fusion_droppath=0.0,
    )
    model = GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        _start_scores_low(model)
    return model


def _start_scores_low(model: Any) -> None:
    """Makes every word's logit about `START_LOGIT` (Lin et al. 2017, 4.1), though the class has no bias for it.

    A logit is a dot product of two normalised vectors. A normalised vector's elements sum to 0, so constant biases t
    and v make it width * t * v plus a random part.
    """
    text = model.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after
    text.bias.fill_(_TEXT_BIAS)
    for vision in (model.model.enc_output_norm, model.model.decoder.layer_norm):
        vision.weight.fill_(_VISION_GAIN)
        vision.bias.fill_(START_LOGIT / (WIDTH * _TEXT_BIAS))


def thaw(model: "GroundingDinoForObjectDetection") -> None:
    """Replaces the backbone's frozen normalisation by a trainable one with the same numbers, in place."""
    _thaw_children(model.model.backbone)


def _thaw_children(module: Any) -> None:
    import torch
    from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoFrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, GroundingDinoFrozenBatchNorm2d):
            trainable = torch.nn.BatchNorm2d(len(child.weight))
            trainable.load_state_dict(child.state_dict(), strict=False)  # it has a counter beside
            setattr(module, name, trainable)
        else:
            _thaw_children(child)


def frozen_copy(state: "dict[str, torch.Tensor]") -> "GroundingDinoForObjectDetection":
    """The model as transformers builds it, in evaluation mode, with the weights of a thawed one."""
    model = new_grounding_dino()
    model.load_state_dict({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")})
    return model.eval()


def processor() -> Any:
    """Tokenizer and image processor."""
    from transformers import BertTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    size = {"shortest_edge": min(INPUT_WH), "longest_edge": max(INPUT_WH)}
    pictures = GroundingDinoImageProcessor(size=size, image_mean=list(MEAN), image_std=list(STD))
    words = BertTokenizer(vocab=vocabulary(), model_max_length=MAX_TOKENS)
    return GroundingDinoProcessor(pictures, words)


def save_grounding_dino(model: "GroundingDinoForObjectDetection", folder: Path, card: str) -> None:
    """Writes a hub folder: float16 safetensors, config, tokenizer, image processor and card."""

    def write(temporary: Path) -> None:
        frozen_copy(model.state_dict()).half().save_pretrained(temporary)
        config = (temporary / CONFIG).read_text()
        write_text(temporary / CONFIG, config.replace('"float16"', '"float32"'))  # what they are used in
        for part in (processor().image_processor, processor().tokenizer):
            part.save_pretrained(temporary)
        write_text(temporary / "README.md", card)

    write_whole(folder, write)


def grounding_dino_card(seen: str, scores: Mapping[str, float], command: str) -> str:
    """The model card.

    Args:
        seen: how many pictures in training, in words.
        scores: of `judge_grounding_dino.judge`.
        command: that makes the model.
    """
    rows = "".join(f"| {score} | {value:.3f} |\n" for score, value in scores.items())
    known = ", ".join(concept.phrases[0] for concept in CONCEPTS)
    return f"""# grounding_dino

A Grounding DINO (`GroundingDinoForObjectDetection` of transformers) of 2 million parameters, about a ninetieth of
grounding-dino-tiny, so that a fresh clone runs with no download and no GPU. It is there to try the product, to test it
and to start small lines; it is no foundation model and knows only hands and things as lineact's own generator draws
them. On real video use `foundation: hub` or a local folder.

- Words: {known}; synonyms as in `lineact/foundation/words.py`. "hand" finds bare and gloved hands, "glove" only gloved
  ones, "bare hand" only bare ones. Any other word is spelled with letters and should find nothing.
- Data: procedural pictures of `lineact/foundation/scenes.py`, `grounds.py` and `machines.py` (random colours that keep
  away from those of every simulated line before light, pattern and noise change them; random surfaces, machines,
  lights, hands and things; no line's product, bench or camera), each with a random prompt of its own. No photograph,
  no person.
- Seen in training: {seen}.
- Pictures are scaled to {INPUT_WH[0]} x {INPUT_WH[1]}; a hand should be at least 25 pixels long then. In training they
  had that size and {TRAINED_WH[0][0]} x {TRAINED_WH[0][1]} by turns.
- Weights: float16 safetensors, used in float32.
- Made by `{command} only=grounding_dino` (seeded; goes on after a kill).

Scores at IoU 0.4, on held-out procedural pictures and on the simulated lines, which it has never seen. box_threshold
was chosen on other held-out pictures and holds for all rows. Boxes count after non-maximum suppression at IoU 0.5.
Frames of lines are 640 x 360, without compression. "absent" is what a prompt for one thing that is not in view brings
back, on average over such prompts ("worst": the worst of them).

| score | value |
|---|---|
{rows}"""
