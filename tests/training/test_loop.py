"""The loop: what it leaves behind, that it repeats bit for bit, and that it can be gone on with."""

import csv
import hashlib
import itertools
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import load
from cnnlab.errors import CheckpointError, NumericError, RecipeError, UsageError
from cnnlab.recipe.load import from_file
from cnnlab.training import checkpoint, metrics
from cnnlab.training.engines.torch import TorchEngine
from cnnlab.training.events import EpochDone, RunFinished, RunStarted, StepDone
from cnnlab.training.loop import resume
from cnnlab.training.run_folder import RunFolder
from cnnlab.training.settings import Settings

CNN = "cnn:width=4,dropout=0.3"
FULL_SIZE = "train.initial_scale=1"
RESULT_KEYS = {
    "run", "arch", "data", "data_requested", "fallback", "engine", "seed", "parameters", "macs", "epochs", "best_epoch",
    "train_acc", "val_acc", "val_loss", "test_acc", "test_loss", "seconds", "images_per_s", "device", "precision",
}  # fmt: skip
TIMES = ("images_per_s", "seconds")


def test_outputs_that_are_not_finite_have_a_loss_that_is_not_and_warn_nobody():
    outputs = np.array([[np.inf, 1.0], [np.nan, 1.0], [0.0, 0.0]], np.float32)
    losses = metrics.losses(outputs, np.zeros(3, np.int64), "cross-entropy")  # a warning would be an error here
    assert np.isfinite(losses).tolist() == [False, False, True]


def rows_without_times(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def weight_hashes(run: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((run / "checkpoints" / f"{name}.safetensors").read_bytes()).hexdigest()
        for name in ("best", "last")
    }


def test_a_run_leaves_a_complete_folder(train_digits):
    events = []
    finished = train_digits(CNN, tell=events.append, epochs=3)
    run = finished.run
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names >= {
        "recipe.yaml", "environment.json", "metrics.jsonl", "metrics.csv", "curves.png", "result.json",
        "checkpoints/best.safetensors", "checkpoints/best.json",
        "checkpoints/last.safetensors", "checkpoints/last.json",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]
    result = json.loads((run / "result.json").read_text())
    assert result.keys() == RESULT_KEYS
    assert result == finished.result
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows == [
        {key: int(value) if key == "epoch" else float(value) for key, value in row.items()}
        for row in csv.DictReader((run / "metrics.csv").read_text().splitlines())
    ]
    assert [type(event) for event in events if not isinstance(event, StepDone)][-4:] == [
        EpochDone, EpochDone, EpochDone, RunFinished,
    ]  # fmt: skip
    assert sum(isinstance(event, RunStarted) for event in events) == 1


def test_the_result_is_that_of_the_best_validation_epoch(train_digits):
    finished = train_digits(CNN, epochs=4)
    rows, result = finished.rows, finished.result
    best = rows[result["best_epoch"] - 1]
    assert best.val_acc == max(row.val_acc for row in rows)
    assert (result["val_acc"], result["val_loss"], result["train_acc"]) == (best.val_acc, best.val_loss, best.train_acc)
    manifest = json.loads((finished.run / "checkpoints/best.json").read_text())
    assert manifest["epoch"] == result["best_epoch"]


def test_the_same_command_twice_gives_the_same_bits(train_digits):
    first, second = train_digits(CNN, name="a").run, train_digits(CNN, name="b").run
    assert rows_without_times(first) == rows_without_times(second)
    assert weight_hashes(first) == weight_hashes(second)
    other = train_digits(CNN, "seed=1", name="c").run
    assert weight_hashes(other) != weight_hashes(first)


@pytest.mark.parametrize(
    ("net", "options"),
    [
        (CNN, (FULL_SIZE,)),
        (CNN, (FULL_SIZE, "optim.name=adam", "optim.lr=0.01", "train.ema=0.9")),
        (CNN, (FULL_SIZE, "data.augment.mixup=0.2", "data.augment.cutout=2")),
        (CNN, (FULL_SIZE, "optim.name=sgd", "optim.lr=0.05")),
        ("fast:width=2,whiten_bias_epochs=1", ("train.batch_size=256", "train.lookahead=2", "data.augment.flip=true")),
        ("fast:width=2,whiten_bias_epochs=0", ("train.batch_size=256",)),
        ("resnet:depth=8,width=2", ("train.batch_size=256", "train.initial_scale=0.5", "train.full_scale_from=0.7")),
        ("resnet:depth=8,width=2", ("train.freeze_up_to=stage1-block1", "train.freeze_from=0.3")),
        (CNN, (FULL_SIZE, "optim.name=muon", "train.rest_up_to=conv1", "train.rest_until=0.9")),
    ],
)
def test_a_stopped_run_ends_like_one_that_was_not(train_digits, small_images_shrink, net, options):
    """Stop after the second of four epochs, as a kill would, and go on."""
    whole = train_digits(net, *options, epochs=4, name="whole", gradients=True).run

    def stop_after_two(event):
        if isinstance(event, EpochDone) and event.row.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits(net, *options, epochs=4, name="cut", gradients=True, tell=stop_after_two)
    cut = Path("runs/cut")
    assert len(RunFolder(cut).rows()) == 2
    assert not (cut / "result.json").exists()
    resume(cut, Settings())
    assert rows_without_times(cut) == rows_without_times(whole)
    assert weight_hashes(cut) == weight_hashes(whole)
    for file in ("recipe.yaml", "gradients.jsonl", "checkpoints/best.json", "checkpoints/last.json"):
        assert (cut / file).read_text() == (whole / file).read_text(), file
    results = [json.loads((run / "result.json").read_text()) for run in (cut, whole)]
    for result in results:
        for key in (*TIMES, "run"):
            del result[key]
    assert results[0] == results[1]


def test_the_images_of_a_training_grow_step_by_step(train_digits, small_images_shrink, monkeypatch):
    sizes, step = [], TorchEngine.step

    def watched(engine, batch, *rest):
        sizes.append(batch.size)
        return step(engine, batch, *rest)

    monkeypatch.setattr(TorchEngine, "step", watched)
    options = ("train.batch_size=128", "train.initial_scale=0.5", "train.full_scale_from=0.5")
    train_digits("resnet:depth=8,width=2", *options, epochs=2)
    assert len(sizes) == 20
    assert sizes == [*([(4, 4)] * 3), *([(5, 5)] * 2), *([(6, 6)] * 3), *([(7, 7)] * 2), *([None] * 10)]


@pytest.fixture
def first_kernels(monkeypatch):
    """The hash of a resnet's first kernels after each step."""
    hashes, step = [], TorchEngine.step

    def watched(engine, *rest):
        value = step(engine, *rest)
        hashes.append(hash(engine.weights()["conv.weight"].tobytes()))
        return value

    monkeypatch.setattr(TorchEngine, "step", watched)
    return hashes


def test_layers_freeze_at_their_step(train_digits, first_kernels):
    options = ("train.batch_size=128", "train.freeze_up_to=conv", "train.freeze_from=0.6")
    train_digits("resnet:depth=8,width=2", *options, epochs=2)
    assert len(first_kernels) == 20
    assert len(set(first_kernels[:12])) == 12
    assert len(set(first_kernels[11:])) == 1


def test_layers_rest_in_every_second_step_until_theirs(train_digits, first_kernels):
    options = ("train.batch_size=256", "train.rest_up_to=conv", "train.rest_until=0.6")
    train_digits("resnet:depth=8,width=2", *options, epochs=2)  # of 5 steps
    changed = [after != before for before, after in itertools.pairwise(first_kernels)]
    assert changed == [False, True, False, True, False, True, True, True, True]


def test_rows_newer_than_the_checkpoint_are_dropped(train_digits):
    def stop(event):
        if isinstance(event, EpochDone) and event.row.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits(epochs=3, name="cut", tell=stop)
    metrics = Path("runs/cut/metrics.jsonl")
    third = json.loads(metrics.read_text().splitlines()[1]) | {"epoch": 3, "objective": 99.0}
    metrics.write_text(metrics.read_text() + json.dumps(third) + '\n{"epoch": 4, "obj')
    finished = resume(Path("runs/cut"), Settings())
    assert [row.epoch for row in finished.rows] == [1, 2, 3]
    assert finished.rows[2].objective != 99.0


def test_a_finished_run_is_left_alone(train_digits):
    run = train_digits().run
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    resume(run, Settings())
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_going_on_with_other_data_is_refused(train_digits):
    run = train_digits().run
    (run / "result.json").unlink()
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["fingerprint"] = "0" * 64
    (run / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(CheckpointError, match="data are not those of the run"):
        resume(run, Settings())


def test_the_damaged_newest_checkpoint_is_passed_over_for_the_one_before(train_digits):
    def stop(event):
        if isinstance(event, EpochDone) and event.row.epoch == 3:
            raise KeyboardInterrupt

    whole = train_digits(CNN, epochs=4, name="whole").run
    with pytest.raises(KeyboardInterrupt):
        train_digits(CNN, epochs=4, name="cut", tell=stop)
    last = Path("runs/cut/checkpoints/last.safetensors")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(bytes(content))
    notices = []
    resume(Path("runs/cut"), Settings(), notices.append)
    assert any("damaged" in getattr(event, "text", "") for event in notices)
    assert weight_hashes(Path("runs/cut")) == weight_hashes(whole)


@pytest.mark.parametrize(("crop", "pixels"), [("auto", 1), ("0.0625", 1), ("0.4", 3), ("0.05", 0), ("2", 2)])
def test_the_saved_recipe_runs_again_to_the_same_bits(train_digits, crop, pixels):
    """Written out in it is what depends on the data: shifts of images of 8x8 pixels here."""
    from cnnlab.training.loop import train

    first = train_digits(CNN, f"data.augment.crop={crop}").run
    recipe = from_file(first / "recipe.yaml")
    assert recipe.data.augment.crop == pixels
    again = train(recipe, Settings(name="again")).run
    assert weight_hashes(again) == weight_hashes(first)


def test_train_loss_is_measured_like_val_loss(train_digits):
    """With no learning to speak of, both curves of an untrained net agree although training uses dropout and mixup."""
    row = train_digits(CNN, "optim.lr=1e-12", "data.augment.mixup=1.0", epochs=1).rows[0]
    assert row.train_loss == pytest.approx(row.val_loss, rel=0.1)
    assert row.train_loss != row.objective


def test_no_validation_means_null_figures_and_the_last_weights(train_digits):
    finished = train_digits("mlp:depth=1,width=16", "data.val_fraction=0", epochs=2)
    assert finished.result["val_acc"] is None
    assert finished.result["val_loss"] is None
    assert finished.result["best_epoch"] == 2
    assert finished.rows[0].val_loss is None


def test_the_test_set_can_be_left_alone(train_digits):
    result = train_digits(test=False).result
    assert result["test_acc"] is None
    assert result["test_loss"] is None


def test_mse_is_half_the_squared_error_on_one_hot_labels(train_digits):
    row = train_digits(
        "mlp:depth=0,output_activation=sigmoid", "train.loss=mse", "train.label_smoothing=0", "optim.lr=1e-9", epochs=1
    ).rows[0]
    assert row.val_loss == pytest.approx(0.5 * 10 * 0.25, rel=0.2)


def test_early_stopping_and_time_budget_say_why(train_digits):
    stopped = train_digits("mlp:depth=0", "optim.lr=1e-12", "train.patience=2", epochs=30)
    assert stopped.reason is not None
    assert len(stopped.rows) < 30
    budget = train_digits("mlp:depth=0", "train.max_minutes=1e-6", epochs=30)
    assert "time budget" in str(budget.reason)
    assert len(budget.rows) == 1


def test_the_time_budget_counts_the_work_of_larger_images(train_digits, small_images_shrink):
    """A tenth of a minute after each epoch: the small images of the first epochs are no measure of the last."""

    def slow(event):
        if isinstance(event, EpochDone):
            object.__setattr__(event.row, "seconds", 6.0)

    options = ("train.max_minutes=0.35", "train.initial_scale=0.5", "train.full_scale_from=0.8")
    growing = train_digits("resnet:depth=8,width=2", *options, epochs=10, tell=slow, name="growing")
    assert "time budget" in str(growing.reason)
    steady = train_digits("resnet:depth=8,width=2", options[0], epochs=10, tell=slow, name="steady")
    assert len(steady.rows) == 3
    assert len(growing.rows) == 2


def test_images_do_not_grow_for_a_net_that_takes_one_size(train_digits, small_images_shrink):
    with pytest.raises(
        RecipeError, match=r"train\.initial_scale is 0\.5, but mlp takes no images of 4x4 pixels"
    ) as caught:
        train_digits("mlp:depth=1,width=4", "train.initial_scale=0.5")
    assert "--set train.initial_scale=1" in str(caught.value.hint)
    assert not Path("runs").exists()


def test_a_loss_that_is_not_finite_stops_with_a_numeric_error(train_digits):
    with pytest.raises(NumericError, match=r"epoch \d+, step \d+") as caught:
        train_digits(
            "mlp:depth=2,activation=identity", "optim.name=sgd", "optim.lr=900", "optim.schedule=constant", epochs=20
        )
    assert "--lr" in str(caught.value.hint)


def test_batches_larger_than_the_data_are_refused_and_leave_nothing(train_digits):
    with pytest.raises(RecipeError, match="1293 images"):
        train_digits("mlp", "train.batch_size=5000")
    assert not Path("runs").exists()


def test_a_name_is_never_shared(train_digits):
    train_digits(name="mine")
    with pytest.raises(UsageError, match="exists already"):
        train_digits(name="mine")


def test_init_from_starts_with_the_best_weights(train_digits):
    net = "mlp:depth=1,width=16,batch_norm=false,dropout=0"
    run = train_digits(net, epochs=2).run
    begun = train_digits(net, "optim.lr=1e-12", epochs=1, init_from=run)
    best = max(row.val_acc for row in RunFolder(run).rows())
    assert begun.rows[0].val_acc == best
    with pytest.raises(CheckpointError, match=r"do not fit this net: .* lacks .conv1\.weight") as caught:
        train_digits(CNN, epochs=1, init_from=run)
    assert f"--recipe {run}/recipe.yaml --init-from {run}" in caught.value.hint


def test_a_run_from_other_weights_says_so_and_goes_on_from_them_before_its_first_save(train_digits):
    net = "mlp:depth=1,width=16"
    source = train_digits(net, epochs=2, name="source").run
    whole = train_digits(net, epochs=1, name="whole", init_from=source).run
    recorded = json.loads((whole / "environment.json").read_text())["init_from"]
    assert recorded == {
        "run": str(source.resolve()),
        "sha256": hashlib.sha256((source / "checkpoints/best.safetensors").read_bytes()).hexdigest(),
    }

    def stop_at_once(event):
        if isinstance(event, StepDone):
            raise KeyboardInterrupt

    for name in ("cut", "lost"):
        with pytest.raises(KeyboardInterrupt):
            train_digits(net, epochs=1, name=name, init_from=source, tell=stop_at_once)
        assert not list((Path("runs") / name / "checkpoints").glob("*"))
    resume(Path("runs/cut"), Settings())
    assert weight_hashes(Path("runs/cut")) == weight_hashes(whole)
    train_digits(net, "seed=1", epochs=1, name="other")
    shutil.rmtree(source / "checkpoints")
    shutil.copytree("runs/other/checkpoints", source / "checkpoints")
    with pytest.raises(CheckpointError, match="have changed since"):
        resume(Path("runs/lost"), Settings())


@pytest.mark.parametrize(("setting", "told"), [("data.split_seed=1", True), ("optim.lr=0.01", False)])
def test_weights_that_have_seen_the_validation_images_are_told(train_digits, setting, told):
    net, notices = "mlp:depth=1,width=16", []
    source = train_digits(net, epochs=1).run
    train_digits(net, setting, epochs=1, init_from=source, tell=notices.append)
    texts = [event.text for event in notices if type(event).__name__ == "Notice"]
    assert any("another validation part" in text for text in texts) is told


@pytest.mark.parametrize("select", ["best", "last"])
def test_patience_counts_from_the_best_validation_epoch(train_digits, select):
    """At such a rate nothing changes after the first epoch."""
    still = ("optim.lr=1e-30", "optim.schedule=constant", "train.patience=2")
    finished = train_digits("mlp:depth=1,width=16,batch_norm=false", *still, f"train.select={select}", epochs=6)
    assert len(finished.rows) == 3
    assert "no better validation accuracy" in finished.reason


def test_a_resumed_run_may_leave_the_test_alone(train_digits):
    with pytest.raises(KeyboardInterrupt):
        train_digits(name="cut", epochs=2, tell=_stop_after_one)
    assert resume(Path("runs/cut"), Settings(test=False)).result["test_acc"] is None


def _stop_after_one(event):
    if isinstance(event, EpochDone):
        raise KeyboardInterrupt


def test_checkpoints_hold_torch_names_and_no_pickle(train_digits):
    run = train_digits(CNN).run
    best = checkpoint.load(run / "checkpoints", "best")
    assert best.tensors["conv1.weight"].shape == (4, 1, 3, 3)
    assert best.meta["classes"] == [str(digit) for digit in range(10)]
    for path in run.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80"), path  # a pickle's first byte


def test_gradients_show_that_sigmoid_loses_delta_and_relu_does_not(train_digits):
    ratios = {}
    for activation in ("sigmoid", "relu"):
        run = train_digits(
            f"mlp:depth=10,width=64,activation={activation},batch_norm=false,dropout=0",
            epochs=1,
            gradients=True,
            name=activation,
        ).run
        rows = [json.loads(line) for line in (run / "gradients.jsonl").read_text().splitlines()]
        assert {row["epoch"] for row in rows} == {0, 1}
        first = [row["delta_rms"] for row in rows if row["epoch"] == 0]
        assert len(first) == 11
        ratios[activation] = first[0] / first[9]
        assert (run / "gradients.png").stat().st_size > 10_000
    assert ratios["sigmoid"] < 1e-3
    assert 0.05 < ratios["relu"] < 20


def test_the_data_folder_may_move_as_long_as_the_content_is_the_same(train_digits):
    """A run's recipe names the data set; its fingerprint decides."""
    run = train_digits().run
    moved = Path("elsewhere")
    shutil.copytree(run, moved)
    (moved / "result.json").unlink()
    resume(moved, Settings())
    assert (
        json.loads((moved / "result.json").read_text())["test_acc"]
        == json.loads((run / "result.json").read_text())["test_acc"]
    )


def test_digits_statistics_normalise_the_pictures():
    from cnnlab.training.prepare import level_statistics

    images = load("digits").train.images
    mean, std = level_statistics(images)
    assert mean == pytest.approx(images.mean(axis=(0, 1, 2)))
    assert std == pytest.approx(images.std(axis=(0, 1, 2)))
    assert math.isfinite(float(std[0]))
    constant = np.full((3, 2, 2, 1), 7, np.uint8)
    assert level_statistics(constant)[1].tolist() == [1.0]


@pytest.mark.parametrize(("assignment", "best"), [("train.select=best", True), ("data.val_fraction=0", False)])
def test_the_curves_know_whether_validation_chose_the_epoch(train_digits, monkeypatch, assignment, best):
    told = []
    monkeypatch.setattr("cnnlab.report.figures.draw_curves", lambda *_, **options: told.append(options["best"]))
    train_digits("mlp:depth=1,width=16", assignment)
    assert told == [best]
