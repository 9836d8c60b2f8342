import numpy as np
import pytest
import torch

from lineact.classifiers.families import pooled_and_logits, start_network
from lineact.classifiers.head import probe, start_at_probe
from lineact.classifiers.train import train_classifier
from lineact.foundation.vit import preprocessing_of
from lineact.training.classifier import load_classifier, normalise, predict_logits, save_classifier, to_unit
from tests.training_sets import LABELS, SIDE_PX, classifier_params, crop_set, fit_params, write_resnet, write_vit


def answers(network, preprocessing, crops):
    images = normalise(to_unit(crops.images_rgb, torch.device("cpu")), preprocessing)
    with torch.no_grad():
        return pooled_and_logits(network.cpu().eval(), images)[1].argmax(dim=1).numpy()


@pytest.mark.parametrize(("family", "write"), [("vit", write_vit), ("resnet", write_resnet)])
def test_a_head_at_its_probe_tells_the_training_crops_apart_and_leaves_the_body_alone(family, write, tmp_path):
    begun = start_network(classifier_params(family), LABELS, str(write(tmp_path / "start")))
    body = {name: value.clone() for name, value in begun.module.state_dict().items()}
    side_px = begun.config["pretrained_cfg"]["input_size"][-1]
    crops = crop_set(60).at_side(side_px)
    preprocessing = preprocessing_of(begun.config, "start")
    start_at_probe(begun.module, preprocessing, crops, 1.0)
    assert (answers(begun.module, preprocessing, crops) == crops.classes).mean() > 0.5  # chance: a third
    head = {f"{'head' if family == 'vit' else 'fc'}.{part}" for part in ("weight", "bias")}
    changed = {name for name, value in begun.module.state_dict().items() if not torch.equal(value.cpu(), body[name])}
    assert changed == head


def test_the_probe_does_not_depend_on_the_scale_or_place_of_a_feature():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(90, 5, generator=rng, dtype=torch.float64)
    classes = torch.arange(90) % 3
    features[:, 0] += classes
    weights = torch.ones(3, dtype=torch.float64)
    moved = features * torch.tensor([1e3, 1e-3, 1.0, 7.0, 0.1]) + torch.tensor([5.0, -2.0, 0.0, 40.0, 1.0])
    (weight, bias), (other_weight, other_bias) = probe(features, classes, weights), probe(moved, classes, weights)
    torch.testing.assert_close(
        features @ weight.T + bias, (moved @ other_weight.T + other_bias).double(), rtol=0, atol=1e-3
    )


def test_the_probe_answers_a_rare_class_as_its_weight_says():
    rng = np.random.default_rng(0)
    classes = torch.tensor([0] * 95 + [1] * 5)
    features = torch.from_numpy(rng.normal(size=(100, 1))) + classes[:, None]
    counts = [
        int(((features @ weight.T + bias).argmax(dim=1) == 1).sum())
        for weight, bias in (
            probe(features, classes, torch.tensor(each, dtype=torch.float64)) for each in ([1.0, 1.0], [0.5, 10.0])
        )
    ]
    assert counts[0] < 10 < counts[1]


def test_training_from_the_probe_begins_better_than_from_a_random_head(tmp_path):
    start = str(write_vit(tmp_path / "start"))
    crops, val = crop_set(60), crop_set(30, seed=1)
    fit = fit_params(epochs=1, lr=1e-6)
    accuracy = {
        head: train_classifier(
            classifier_params("vit", fit, head_start=head), LABELS, 1, crops, val, start, None, tmp_path / head
        )
        .history[0]
        .val_accuracy
        for head in ("random", "probe")
    }
    assert accuracy["probe"] > accuracy["random"] + 0.2


def test_random_weights_have_no_probe(tmp_path):
    crops, val = crop_set(6), crop_set(6, seed=1)
    fit = fit_params(epochs=1)
    first, second = (
        train_classifier(
            classifier_params("cnn", fit, tiny=None, head_start=head),
            LABELS,
            1,
            crops,
            val,
            None,
            None,
            tmp_path / head,
        )
        for head in ("random", "probe")
    )
    assert first.history == second.history


def test_a_vit_at_another_side_keeps_all_weights_but_its_positions(tmp_path):
    start = str(write_vit(tmp_path / "start"))
    own, larger = (
        start_network(classifier_params("vit", side_px=side_px), LABELS, start) for side_px in (None, 2 * SIDE_PX)
    )
    assert larger.config["pretrained_cfg"]["input_size"] == [3, 2 * SIDE_PX, 2 * SIDE_PX]
    assert own.config["pretrained_cfg"]["input_size"] == [3, SIDE_PX, SIDE_PX]
    before, after = own.module.state_dict(), larger.module.state_dict()
    resampled = {name for name in before if before[name].shape != after[name].shape}
    assert resampled == {"pos_embed"}


def test_a_classifier_at_another_side_is_trained_saved_and_read_at_it(tmp_path):
    start = str(write_vit(tmp_path / "start"))
    crops, val = crop_set(30), crop_set(15, seed=1)
    params = classifier_params("vit", fit_params(epochs=1), side_px=2 * SIDE_PX)
    trained = train_classifier(params, LABELS, 1, crops, val, start, None, tmp_path / "training")
    save_classifier(tmp_path, "saved", trained.model, trained.spec)
    model, spec = load_classifier(tmp_path, "saved")
    assert spec.preprocessing.side_px == 2 * SIDE_PX
    images_rgb = val.at_side(2 * SIDE_PX).images_rgb
    expected = predict_logits(trained.model, images_rgb, spec.preprocessing)
    torch.testing.assert_close(predict_logits(model, images_rgb, spec.preprocessing), expected)
