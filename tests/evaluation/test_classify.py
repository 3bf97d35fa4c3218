"""Single pictures: any size, any channels, good ones among bad ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from cnnlab.data import load
from cnnlab.data.decoding import fit
from cnnlab.errors import DataError
from cnnlab.evaluation import views
from cnnlab.evaluation.classify import Classification, classify
from cnnlab.evaluation.evaluate import evaluate


def save_digits(folder: Path, count: int, *, scale: int = 1, mode: str = "L") -> list[int]:
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    for index in range(count):
        pixels = np.round(digits.images[index] * 255 / 16).astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
        Image.fromarray(pixels).convert(mode).save(folder / f"{index:03}.png")
    return digits.target[:count].tolist()


def labels_of(found: Classification) -> list[int]:
    return [int(prediction.prediction) for prediction in found.predictions]


def test_the_runs_own_pictures_are_predicted_as_in_its_evaluation(picture_run: tuple[Path, Path]) -> None:
    data, run = picture_run
    whole = evaluate(run, device="cpu")
    found = classify(run, [data / "test"], device="cpu")
    names = [row.name for row in whole.classes]
    assert sorted(p.prediction for p in found.predictions) == sorted(names[i] for i in whole.predictions)
    wrong = {str(mistake.image): mistake for mistake in whole.mistakes}
    for prediction in found.predictions:
        name = prediction.image.relative_to(data).as_posix()
        if name in wrong:
            assert prediction.prediction == wrong.pop(name).prediction
    assert not wrong
    assert not any(prediction.resized for prediction in found.predictions)


def test_pictures_are_resized_and_turned_into_the_runs_channels(run: Path, own_world: Path) -> None:
    labels = save_digits(own_world / "small", 60)
    save_digits(own_world / "large", 60, scale=5, mode="RGB")
    small, large = (classify(run, [Path(name)], device="cpu") for name in ("small", "large"))
    assert sum(a == b for a, b in zip(labels_of(small), labels, strict=True)) >= 42
    assert sum(a == b for a, b in zip(labels_of(large), labels, strict=True)) >= 42
    assert not small.predictions[0].resized
    assert large.predictions[0].resized
    assert large.predictions[0].size == (40, 40)


def test_a_coloured_picture_is_seen_by_its_luma(run: Path, own_world: Path) -> None:
    for index, gray in enumerate(load_digits().images[:20]):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[..., 1] = np.round(gray * 255 / 16)  # green on black: nothing of it is in the red channel
        coloured = Image.fromarray(pixels)
        coloured.save(own_world / f"{index:02}.png")
        coloured.convert("L").save(own_world / f"{index:02}-gray.png")
    coloured, grays = (
        classify(run, [Path(f"{index:02}{ending}.png") for index in range(20)], device="cpu").predictions
        for ending in ("", "-gray")
    )
    assert [found.top for found in coloured] == [found.top for found in grays]
    assert len({found.prediction for found in coloured}) > 3


def test_top_is_sorted_and_begins_with_the_prediction(run: Path, own_world: Path) -> None:
    save_digits(own_world / "digits", 5)
    for prediction in classify(run, [Path("digits")], device="cpu").predictions:
        confidences = [confidence for _, confidence in prediction.top]
        assert len(prediction.top) == 5
        assert prediction.top[0] == (prediction.prediction, prediction.confidence)
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) <= 1 + 1e-9


def test_bad_pictures_are_listed_and_the_others_classified(run: Path, own_world: Path) -> None:
    save_digits(own_world / "digits", 3)
    (own_world / "text.png").write_text("no picture")
    (own_world / "empty.jpg").write_bytes(b"")
    cut = (own_world / "digits" / "000.png").read_bytes()[:-30]
    (own_world / "cut.png").write_bytes(cut)
    asked = [
        Path(name) for name in ("text.png", "digits/001.png", "none.png", "empty.jpg", "cut.png", "digits/002.png")
    ]
    found = classify(run, asked, device="cpu")
    assert [prediction.image for prediction in found.predictions] == [asked[1], asked[5]]
    assert [failure.image for failure in found.failures] == [asked[0], asked[2], asked[3], asked[4]]
    assert all(failure.image.name in failure.problem for failure in found.failures)
    assert set(found.document()["failed"][0]) == {"image", "problem"}


def test_only_bad_pictures(run: Path, own_world: Path) -> None:
    (own_world / "text.png").write_text("no picture")
    found = classify(run, [Path("text.png")], device="cpu")
    assert not found.predictions
    assert len(found.failures) == 1


def test_a_folder_without_pictures_is_a_data_error(run: Path, own_world: Path) -> None:
    (own_world / "nothing").mkdir()
    (own_world / "nothing" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="holds no pictures"):
        classify(run, [Path("nothing")], device="cpu")


def test_a_picture_named_twice_is_classified_once(run: Path, own_world: Path) -> None:
    save_digits(own_world / "digits", 2)
    found = classify(run, [Path("digits"), Path("digits/000.png")], device="cpu")
    assert len(found.predictions) == 2


@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 30), (7, 7), (16, 50)])
def test_the_centre_is_what_is_seen(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image[top : top + side, left : left + side] = 200
    fitted = fit(image, (8, 8))
    assert fitted.shape == (8, 8, 3)
    assert fitted.dtype == np.uint8
    assert (fitted == 200).all()


def test_pictures_that_are_not_square_keep_their_proportions() -> None:
    image = np.zeros((40, 40, 1), np.uint8)
    image[10:30] = 250
    fitted = fit(image, (10, 20))
    assert fitted.shape == (10, 20, 1)
    assert (fitted == 250).all()


@pytest.mark.parametrize(
    ("size", "shape"), [((1, 400), (8, 8)), ((3, 5), (40, 1)), ((5, 3), (1, 40)), ((9, 9), (1, 7))]
)
def test_pictures_of_any_proportions_fit(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert fit(np.full((*size, 3), 7, np.uint8), shape).tolist() == np.full((*shape, 3), 7).tolist()


def test_a_picture_reaches_the_net_as_it_does_in_a_data_set(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for index, label in enumerate("0123456789"):
        for part in ("train", "test"):
            Path("set", part, label).mkdir(parents=True)
            pixels = rng.integers(0, 256, (20 + index, 33), np.uint8)  # odd differences: the centre lies at half pixels
            Image.fromarray(pixels).save(Path("set", part, label, f"{index}.png"))
    seen: list[np.ndarray] = []
    real = views.predict
    monkeypatch.setattr(
        views, "predict", lambda engine, images, *rest: seen.append(images) or real(engine, images, *rest)
    )
    classify(run, [Path("set/test")], device="cpu")
    np.testing.assert_array_equal(seen[0], load("set", image_size=8).test.images)


def test_clutter_is_passed_over_as_in_a_data_set(run: Path, own_world: Path) -> None:
    save_digits(own_world / "digits", 2)
    save_digits(own_world / "digits" / "__MACOSX", 1)
    (own_world / "digits" / "._000.png").write_bytes(b"\0\5\x16\7")
    found = classify(run, [Path("digits")], device="cpu")
    assert (len(found.predictions), found.failures) == (2, ())


def test_confidence_of_a_net_trained_on_squared_error_is_its_output(own_world: Path) -> None:
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.loop import train
    from cnnlab.training.settings import Settings

    flags = {"--data": "digits", "--epochs": 3, "--batch-size": 64, "--lr": 0.01}
    recipe = resolve(
        arch=parse_spec("mlp:depth=1,width=32"), settings=["train.loss=mse", "train.label_smoothing=0"], flags=flags
    )
    run = train(recipe, Settings(out=own_world / "runs", name="mse", device="cpu")).run
    save_digits(own_world / "digits", 20)
    found = classify(run, [Path("digits")], device="cpu")
    assert all(0 <= share <= 1 for prediction in found.predictions for _, share in prediction.top)
    assert np.mean([prediction.confidence for prediction in found.predictions]) > 0.3  # a softmax would give 0.2
    evaluated = evaluate(run, device="cpu")
    assert 0 <= evaluated.calibration.ece <= 1
