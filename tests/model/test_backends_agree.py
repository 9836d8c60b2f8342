"""Hugging Face's Grounding DINO and groundingdino-py are one model: converted weights give the same boxes."""

import numpy as np
import pytest
import torch

from lineact.detect.bert_masks import local_text_encoder
from tests.converted_grounding_dino import converted
from tests.tiny_grounding_dino import TEXT, small_config, write_bert_tokenizer, write_original_model

LAYERS = 2
AGREEMENT = 1e-4  # of the picture's sides, and of scores
PROMPT = "hand. glove tool."
TEXT_OF_BERTS_SIZE = TEXT | {"vocab_size": 30522}  # transformers counts on the separators' ids

pytestmark = pytest.mark.slow


def _shaken(model: torch.nn.Module) -> torch.nn.Module:
    """In float64, with every weight that starts at 0 or 1 made to matter."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.double().eval()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    from groundingdino.models import build_model
    from groundingdino.util.slconfig import SLConfig

    folder = tmp_path_factory.mktemp("original")
    config, _, _ = write_original_model(folder, LAYERS, TEXT_OF_BERTS_SIZE, write_bert_tokenizer)
    arguments = SLConfig.fromfile(str(config))
    arguments.device = "cpu"
    arguments.use_checkpoint = arguments.use_transformer_ckpt = False
    with local_text_encoder():
        return _shaken(build_model(arguments))


@pytest.fixture(scope="module")
def port(original):
    from transformers import GroundingDinoForObjectDetection, SwinConfig

    swin_t = SwinConfig(  # type: ignore[call-arg]
        image_size=224,
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_indices=[2, 3, 4],
    )
    config = small_config(swin_t, TEXT_OF_BERTS_SIZE, LAYERS, heads=4)
    model = GroundingDinoForObjectDetection(config)
    state = converted(original.state_dict(), LAYERS)
    absent = set(model.state_dict()) - set(state)
    # Of the backbone's own last normalisation nothing is used: each stage that is taken has one.
    assert all("swin.layernorm" in name for name in absent)
    model.load_state_dict(state, strict=False)
    assert not set(state) - set(model.state_dict())
    return model.double().eval()


def test_boxes_and_scores_agree(original, port):
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 160, 224)))
    with torch.inference_mode():
        theirs = original(pixels, captions=[PROMPT])
        text = original.tokenizer([PROMPT], return_tensors="pt", return_token_type_ids=True)
        ours = port(pixel_values=pixels, **text)
    count = text["input_ids"].shape[1]
    scores = [output[..., :count].sigmoid()[0] for output in (theirs["pred_logits"], ours.logits)]  # 10 x L
    boxes = [output[0] for output in (theirs["pred_boxes"], ours.pred_boxes)]  # 10 x 4
    nearest = torch.cdist(boxes[0], boxes[1], p=torch.inf).argmin(1)
    assert sorted(nearest.tolist()) == list(range(10))
    assert (boxes[0] - boxes[1][nearest]).abs().max() <= AGREEMENT
    assert (scores[0] - scores[1][nearest]).abs().max() <= AGREEMENT
    assert boxes[0].std(0).min() > 100 * AGREEMENT  # or they would agree whatever they said
    assert scores[0][:, 1].std() > 10 * AGREEMENT
