"""A run evaluated: its own figures come out again, on the parts it had; other data fit or are refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import classification_report, confusion_matrix

from cnnlab.errors import CheckpointError, DataError, MachineError, UsageError
from cnnlab.evaluation import chosen, views
from cnnlab.evaluation import evaluate as module
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.evaluation.opened import Changes
from cnnlab.recipe.load import resolve
from cnnlab.recipe.spec import parse_spec
from cnnlab.training import checkpoint
from cnnlab.training.events import Event, Notice
from cnnlab.training.loop import train
from cnnlab.training.settings import Settings

KEYS = ("run", "split", "data", "n", "top1", "top5", "loss", "ece", "images_per_s", "classes", "confusion", "mistakes")


def result_of(run: Path) -> dict:
    return json.loads((run / "result.json").read_text("utf-8"))


def rewrite_manifest(run: Path, **changes: object) -> None:
    """Change what the best checkpoint says of itself, its own hash made to fit."""
    path = run / "checkpoints" / "best.json"
    document = json.loads(path.read_bytes()) | changes
    document.pop("manifest_sha256")
    path.write_bytes(checkpoint._manifest_text({**document, "manifest_sha256": checkpoint._own_hash(document)}))


def test_the_test_part_gives_the_figures_of_training_again(run: Path) -> None:
    told: list[Event] = []
    found, result = evaluate(run, device="cpu", tell=told.append), result_of(run)
    assert (found.top1, found.loss, found.n) == (result["test_acc"], result["test_loss"], 360)
    assert 0.5 < found.top1 < 1
    assert not [event for event in told if isinstance(event, Notice) and "training measured" in event.text]


def test_the_validation_part_is_the_runs_own(run: Path) -> None:
    found, result = evaluate(run, split="val", device="cpu"), result_of(run)
    assert (found.top1, found.loss, found.n) == (result["val_acc"], result["val_loss"], 144)


def test_the_three_parts_make_up_the_whole_set(run: Path) -> None:
    sizes = {split: evaluate(run, split=split, device="cpu").n for split in ("train", "val", "test")}
    assert sizes == {"train": 1293, "val": 144, "test": 360}


def test_figures_are_those_of_scikit_learn_on_the_predictions(run: Path) -> None:
    found = evaluate(run, device="cpu")
    names = [str(digit) for digit in range(10)]
    report = classification_report(found.labels, found.predictions, target_names=names, output_dict=True)
    for row in found.classes:
        assert (row.precision, row.recall) == (report[row.name]["precision"], report[row.name]["recall"])
        assert row.f1 == pytest.approx(report[row.name]["f1-score"])
    np.testing.assert_array_equal(found.confusion, confusion_matrix(found.labels, found.predictions))
    assert report["accuracy"] == pytest.approx(found.top1)
    wrong = int((found.labels != found.predictions).sum())
    assert len(found.mistakes) == min(wrong, module.LISTED_MISTAKES)
    assert [m.confidence for m in found.mistakes] == sorted((m.confidence for m in found.mistakes), reverse=True)
    first = found.mistakes[0]
    assert first.label == names[found.labels[first.image]]
    assert first.prediction == names[found.predictions[first.image]] != first.label


def test_the_document_has_the_keys_of_the_design_and_is_kept(run: Path) -> None:
    found = evaluate(run, device="cpu", tta=True)
    document = found.document()
    for key in KEYS:
        assert key in document
    assert set(document["classes"][0]) == {"name", "precision", "recall", "f1", "support"}
    assert set(document["mistakes"][0]) == {"image", "label", "prediction", "confidence"}
    assert json.loads((run / "evaluation" / "test.json").read_text("utf-8")) == json.loads(json.dumps(document))
    assert document["images_per_s"] > 0
    assert document["tta"]["views"] == 5  # a mirrored digit is another
    assert document["tta"]["top1"] > 0.5


def test_a_digit_is_never_mirrored_and_a_photograph_is(
    run: Path, picture_run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = views.views
    monkeypatch.setattr(views, "views", lambda images, flip: asked.append(flip) or real(images, flip))
    evaluate(run, device="cpu", tta=True)
    evaluate(picture_run[1], device="cpu", tta=True)
    assert asked == [False, True]


def test_what_is_written(run: Path, drawing: None) -> None:
    evaluate(run, device="cpu")
    evaluate(run, split="val", device="cpu")
    written = sorted(path.name for path in (run / "evaluation").iterdir())
    pictures = ["calibration", "classes", "confusion", "mistakes"]
    assert written == sorted(
        ["test.json", "val.json", *(f"{name}.png" for name in pictures), *(f"{name}-val.png" for name in pictures)]
    )


def test_another_precision_says_so_where_the_figures_differ(run: Path) -> None:
    result = result_of(run)
    (run / "result.json").write_text(json.dumps({**result, "test_acc": 0.123}))
    told: list[Event] = []
    evaluate(run, device="cpu", changes=Changes(precision="fp32"), tell=told.append)
    (text,) = [event.text for event in told if isinstance(event, Notice) and "training measured" in event.text]
    assert "12.30 %" in text
    assert "fp32" in text


def test_precision_and_threads_may_be_chosen(run: Path) -> None:
    exact = evaluate(run, device="cpu", changes=Changes(precision="fp64", threads=1))
    assert exact.precision == "fp64"
    assert exact.top1 == pytest.approx(result_of(run)["test_acc"], abs=0.02)


def test_an_unfinished_run_is_evaluated_with_a_notice(run: Path) -> None:
    (run / "result.json").unlink()
    told: list[Event] = []
    found = evaluate(run, device="cpu", tell=told.append)
    assert not found.finished
    assert any(isinstance(event, Notice) and "not finished" in event.text for event in told)


def test_data_that_are_no_longer_the_runs_are_refused(run: Path) -> None:
    rewrite_manifest(run, data_fingerprint="0" * 64)
    with pytest.raises(DataError, match=r"not what .* was trained on"):
        evaluate(run, device="cpu")
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize("other", [None, "digits"])
def test_a_checkpoint_of_other_classes_than_its_data_is_damaged(run: Path, other: str | None) -> None:
    rewrite_manifest(run, classes=list("9876543210"))
    with pytest.raises(CheckpointError, match=r"10 classes \(9, 8, .*\), expected 10 classes \(0, 1, "):
        evaluate(run, device="cpu", changes=Changes(data=other))


def test_changed_pictures_are_noticed(picture_run: tuple[Path, Path]) -> None:
    data, run = picture_run
    evaluate(run, device="cpu")
    next((data / "test").rglob("*.png")).unlink()
    with pytest.raises(DataError, match="fingerprint"):
        evaluate(run, device="cpu")
    assert evaluate(run, device="cpu", changes=Changes(data=str(data))).n == 23


def test_data_that_are_gone_are_a_data_error(picture_run: tuple[Path, Path]) -> None:
    data, run = picture_run
    data.rename(data.with_name("elsewhere"))
    with pytest.raises(DataError, match="not there any more"):
        evaluate(run, device="cpu")


def test_a_folders_own_parts_and_its_files_names(picture_run: tuple[Path, Path]) -> None:
    data, run = picture_run
    result = result_of(run)
    assert evaluate(run, split="val", device="cpu").top1 == result["val_acc"]
    found = evaluate(run, device="cpu", tta=True)
    assert (found.top1, found.n, found.top5) == (result["test_acc"], 24, None)
    assert found.tta is not None
    assert found.tta.views == 10
    assert found.mistakes
    for mistake in found.mistakes:
        assert str(mistake.image).startswith(f"test/{mistake.label}/")
        assert (data / str(mistake.image)).is_file()


def test_other_data_with_the_same_classes(picture_run: tuple[Path, Path], pictures: Callable[..., Path]) -> None:
    _, run = picture_run
    other = pictures(Path("other"), {"train": 3, "test": 5}, seed=1)
    found = evaluate(run, device="cpu", changes=Changes(data=str(other)))
    assert (found.n, found.data) == (15, "other")
    assert sorted(path.name for path in (run / "evaluation").iterdir())[-1] == "test-other.json"


def test_labels_follow_the_classes_names_not_their_order(run: Path) -> None:
    opened_classes = tuple("0123456789")
    found = evaluate(run, device="cpu")
    digits = load_digits()
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = Path("again", "test" if index >= 200 else "train", opened_classes[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).save(folder / f"{index:04}.png")
    again = evaluate(run, device="cpu", changes=Changes(data="again"))
    rewrite_manifest(run, classes=list(reversed(opened_classes)))
    reversed_names = evaluate(run, device="cpu", changes=Changes(data="again"))
    assert again.top1 > 0.7
    assert abs(again.top1 - found.top1) < 0.1
    np.testing.assert_array_equal(reversed_names.labels, 9 - again.labels)
    assert reversed_names.top1 < 0.3


def test_other_classes_are_refused_with_the_difference(
    picture_run: tuple[Path, Path], pictures: Callable[..., Path]
) -> None:
    _, run = picture_run
    other = pictures(Path("other"), {"train": 3, "test": 3}, classes=("猫", "dog $x$", "fish"))
    with pytest.raises(DataError, match="other classes") as raised:
        evaluate(run, device="cpu", changes=Changes(data=str(other)))
    assert "only the run has: 鸟 bird" in raised.value.message
    assert "only other has: fish" in raised.value.message


def test_pictures_of_another_size_are_resized_only_when_asked(
    picture_run: tuple[Path, Path], pictures: Callable[..., Path]
) -> None:
    _, run = picture_run
    other = pictures(Path("large"), {"train": 3, "test": 4}, size=20)
    with pytest.raises(DataError, match="20×20") as raised:
        evaluate(run, device="cpu", changes=Changes(data=str(other)))
    assert "--set data.image_size=8" in (raised.value.hint or "")
    assert evaluate(run, device="cpu", changes=Changes(data=str(other), settings=("data.image_size=8",))).n == 12


def test_what_made_the_run_cannot_be_changed(run: Path) -> None:
    with pytest.raises(UsageError, match=r"train\.epochs"):
        evaluate(run, changes=Changes(settings=("train.epochs=5",)))


def test_gray_pictures_for_a_run_on_rgb(picture_run: tuple[Path, Path], pictures: Callable[..., Path]) -> None:
    _, run = picture_run
    other = pictures(Path("gray"), {"train": 3, "test": 4})
    for file in other.rglob("*.png"):
        with Image.open(file) as image:
            gray = image.convert("L")
        gray.save(file)
    told: list[Event] = []
    assert evaluate(run, device="cpu", changes=Changes(data=str(other)), tell=told.append).n == 12
    assert any(isinstance(event, Notice) and "turned into RGB" in event.text for event in told)


def test_luma_is_pillows() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), np.uint8)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    np.testing.assert_array_equal(chosen.to_channels(images, 1), expected)
    assert chosen.to_channels(images, 3) is images


def test_a_run_without_a_validation_part_has_none_to_evaluate(own_world: Path) -> None:
    flags = {"--data": "digits", "--epochs": 1}
    recipe = resolve(arch=parse_spec("mlp:depth=1,width=8"), settings=["data.val_fraction=0"], flags=flags)
    run = train(recipe, Settings(out=own_world / "runs", device="cpu")).run
    with pytest.raises(UsageError, match="no validation part"):
        evaluate(run, split="val", device="cpu")
    assert evaluate(run, split="train", device="cpu").n == 1437


def test_a_folder_that_cannot_be_written_keeps_what_was_there(run: Path) -> None:
    (run / "evaluation").write_text("a file of that name")
    with pytest.raises(MachineError, match="cannot write"):
        evaluate(run, device="cpu")
    assert (run / "evaluation").read_text() == "a file of that name"


def test_fallback_is_said_in_the_files(run: Path) -> None:
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    environment["data"].update(requested="cifar10", fallback=True)
    (run / "environment.json").write_text(json.dumps(environment))
    found = evaluate(run, device="cpu")
    assert (found.fallback, found.data, found.data_requested) == (True, "digits", "cifar10")


def test_a_planted_fault_is_seen(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluating the last weights instead of the best, or another split, must not go unnoticed by these tests."""
    real = chosen.divide
    reseeded = {"seed": result_of(run)["seed"] + 1}
    monkeypatch.setattr(chosen, "divide", lambda recipe, data: real(recipe.model_copy(update=reseeded), data))
    assert evaluate(run, split="val", device="cpu").loss != result_of(run)["val_loss"]


def test_an_evaluation_is_a_value(run: Path) -> None:
    found = evaluate(run, device="cpu")
    assert replace(found, top1=0.5).document()["top1"] == 0.5
    with pytest.raises(CheckpointError):
        evaluate(run / "checkpoints", device="cpu")
