"""Going on: in the middle of an epoch, with another recipe, other data, other threads, and with numbers gone wrong."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnlab.errors import CheckpointError, MachineError, NumericError, Stopped
from cnnlab.recipe.load import resolve
from cnnlab.training import checkpoint
from cnnlab.training.events import EpochDone, Notice, RunStarted, StepDone
from cnnlab.training.going_on import shares_images
from cnnlab.training.lock import only_process
from cnnlab.training.loop import resume
from cnnlab.training.run_folder import RunFolder
from cnnlab.training.settings import Settings

CNN = "cnn:width=4,dropout=0.3"


def stop_at(epoch, step):
    """A `tell` that stops a run after this step, as a first Ctrl-C does."""

    def tell(event):
        if isinstance(event, StepDone) and (event.epoch, event.step) == (epoch, step):
            raise Stopped("asked to stop", signal_number=2)

    return tell


def files_without_times(run):
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.suffix in (".safetensors", ".json", ".yaml", ".jsonl")
    }
    rows = [json.loads(line) for line in files.pop("metrics.jsonl").splitlines()]
    files["rows"] = [[value for key, value in row.items() if key not in ("seconds", "images_per_s")] for row in rows]
    del files["environment.json"]
    result = json.loads(files.pop("result.json"))
    files["result"] = [result[key] for key in ("epochs", "best_epoch", "val_acc", "val_loss", "test_acc", "test_loss")]
    return files


@pytest.mark.parametrize(
    ("engine", "options", "step"),
    [
        ("torch", ["optim.name=sgd", "train.ema=0.9", "data.augment.mixup=0.2", "data.augment.crop=1"], 7),
        ("numpy", ["optim.name=adam"], 20),
    ],
)
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_like_one_that_was_not(train_digits, engine, options, step):
    spec = CNN if engine == "torch" else "mlp:depth=1,width=8,dropout=0.3"
    whole = train_digits(spec, *options, epochs=3, name="whole", engine=engine).run
    with pytest.raises(Stopped, match=f"in epoch 2, after step {step} of 20; everything is saved") as caught:
        train_digits(spec, *options, epochs=3, name="cut", engine=engine, tell=stop_at(2, step))
    assert caught.value.exit_code == 130
    assert "cnnlab train --resume runs/cut" in caught.value.hint.replace("\\", "/")
    cut = Path("runs/cut")
    assert (cut / "curves.png").stat().st_size > 10_000
    assert not (cut / ".lock").exists()
    assert list((cut / "checkpoints").glob("midway-*"))
    events = []
    resume(cut, Settings(), events.append)
    steps = [(event.epoch, event.step) for event in events if isinstance(event, StepDone)]
    assert steps[:1] == ([(2, step + 1)] if step < 20 else [(3, 1)])
    assert files_without_times(cut) == files_without_times(whole)


def test_a_stop_in_the_first_epoch_is_saved_too(train_digits):
    whole = train_digits(epochs=2, name="whole", gradients=True).run
    with pytest.raises(Stopped, match="in epoch 1, after step 3"):
        train_digits(epochs=2, name="cut", gradients=True, tell=stop_at(1, 3))
    assert not Path("runs/cut/curves.png").exists()
    events = []
    resume(Path("runs/cut"), Settings(), events.append)
    assert not [event for event in events if isinstance(event, Notice) and "missing" in event.text]
    assert files_without_times(Path("runs/cut")) == files_without_times(whole)


def test_a_stop_of_a_users_own_net_says_a_command_that_goes_on_with_it(train_digits):
    Path("net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    for spec, end in (("net.py:Net", "runs/own --trust-code"), ("mlp:depth=1,width=8", "runs/mlp")):
        with pytest.raises(Stopped) as caught:
            train_digits(spec, name=Path(end.split()[0]).name, tell=stop_at(1, 1))
        assert caught.value.hint == f"Go on: cnnlab train --resume {end}"


def test_a_long_epoch_is_also_saved_midway(train_digits, monkeypatch):
    """A kill in such an epoch loses the steps since that save, not the epoch."""
    whole = train_digits(epochs=2, name="whole").run
    monkeypatch.setattr("cnnlab.training.run.SAVE_SECONDS", -1.0)

    def killed(event):
        if isinstance(event, StepDone) and (event.epoch, event.step) == (2, 9):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_digits(epochs=2, name="cut", tell=killed)
    cut = Path("runs/cut")
    assert {path.stem for path in (cut / "checkpoints").glob("midway-*")} == {"midway-2-9"}
    events = []
    resume(cut, Settings(), events.append)
    assert next(event.step for event in events if isinstance(event, StepDone)) == 10
    assert files_without_times(cut) == files_without_times(whole)


def test_a_changed_recipe_is_refused_with_the_difference(train_digits):
    with pytest.raises(Stopped):
        train_digits(epochs=3, name="cut", tell=stop_at(2, 3))
    recipe = Path("runs/cut/recipe.yaml")
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs: 3", "epochs: 5").replace("width: 16", "width: 32"))
    with pytest.raises(CheckpointError) as caught:
        resume(Path("runs/cut"), Settings())
    assert "train.epochs: 5, the checkpoint's 3" in caught.value.message
    assert "model.width: 32, the checkpoint's 16" in caught.value.message
    recipe.write_text(text)
    assert len(resume(Path("runs/cut"), Settings()).rows) == 3


def test_other_data_are_refused_with_the_difference(train_digits):
    with pytest.raises(Stopped):
        train_digits(epochs=3, name="cut", tell=stop_at(2, 3))
    path = Path("runs/cut/environment.json")
    environment = json.loads(path.read_text())
    environment["data"] |= {"fingerprint": "0" * 64, "name": "others", "images": {"train": 5, "val": 2, "test": 1}}
    path.write_text(json.dumps(environment))
    with pytest.raises(
        CheckpointError, match=r"name: digits, the run's others\nimages: 1797, the run's 8\nfingerprint"
    ):
        resume(Path("runs/cut"), Settings())


def test_other_threads_and_versions_go_on_with_a_warning(train_digits):
    with pytest.raises(Stopped):
        train_digits(epochs=3, name="cut", tell=stop_at(2, 3))
    (manifest,) = Path("runs/cut/checkpoints").glob("midway-*.json")
    found, _ = checkpoint.load_newest(manifest.parent, 1)
    meta = {key: value for key, value in found.meta.items() if key not in ("sha256", "bytes", "manifest_sha256")}
    meta["made_with"] |= {"torch": "1.0"}
    checkpoint.save(manifest.parent, manifest.stem, found.tensors, meta)
    events = []
    resume(Path("runs/cut"), Settings(), events.append, threads=2)
    told = [event.text for event in events if isinstance(event, Notice) and "bit for bit" in event.text]
    assert len(told) == 2
    assert "the run's was 1.0" in told[0]
    assert "threads is 2, the run's was 1" in told[1]
    assert "--threads 1 would be exact" in told[1]


def test_half_a_line_of_metrics_goes_back_to_what_is_whole(train_digits):
    whole = train_digits(epochs=3, name="whole").run
    train_digits(epochs=3, name="cut")
    cut = RunFolder(Path("runs/cut"))
    cut.result.unlink()
    cut.metrics.write_bytes(cut.metrics.read_bytes()[:-30])
    events = []
    resume(cut.path, Settings(), events.append)
    assert any("metrics.jsonl has 2 whole lines" in event.text for event in events if isinstance(event, Notice))
    assert files_without_times(cut.path) == files_without_times(whole)


def test_early_stopping_is_not_undone_by_a_kill_before_the_result(train_digits):
    options = ["optim.lr=1e-12", "train.patience=2"]
    whole = train_digits("mlp:depth=0", *options, epochs=30, name="whole")
    train_digits("mlp:depth=0", *options, epochs=30, name="cut")
    Path("runs/cut/result.json").unlink()
    again = resume(Path("runs/cut"), Settings())
    assert len(again.rows) == len(whole.rows) < 30
    assert again.reason == whole.reason


def test_best_of_an_older_epoch_is_still_there_when_the_newest_is_damaged(train_digits):
    """The last epoch is the best, and is damaged; the one before refers to an older best."""
    whole = train_digits(epochs=3, name="whole").run
    assert json.loads((whole / "result.json").read_text())["best_epoch"] == 3
    train_digits(epochs=3, name="cut")
    checkpoints = Path("runs/cut/checkpoints")
    assert json.loads((checkpoints / "previous-best.json").read_text())["epoch"] == 2
    Path("runs/cut/result.json").unlink()
    content = (checkpoints / "last.safetensors").read_bytes()
    (checkpoints / "last.safetensors").write_bytes(content[:-1])
    resume(Path("runs/cut"), Settings())
    assert files_without_times(Path("runs/cut")) == files_without_times(whole)


def test_a_damaged_best_is_written_anew_while_the_last_epoch_is_the_best(train_digits):
    run = train_digits(epochs=3, name="cut").run
    (run / "result.json").unlink()
    best = run / "checkpoints/best.safetensors"
    content = best.read_bytes()
    best.write_bytes(content[:-1])
    resume(run, Settings())
    assert best.read_bytes() == content
    assert checkpoint.load(best.parent, "best").meta["epoch"] == 3


def test_a_damaged_best_of_an_older_epoch_ends_with_3(train_digits):
    """Nothing is learnt, so the first epoch stays the best."""
    run = train_digits("mlp:depth=0", "optim.lr=1e-12", epochs=3, name="cut").run
    (run / "result.json").unlink()
    best = run / "checkpoints/best.json"
    best.write_bytes(best.read_bytes().replace(b"0", b"1", 1))
    with pytest.raises(CheckpointError, match="the weights of the best epoch, 1, are not in"):
        resume(run, Settings())


def test_a_run_folder_belongs_to_one_process(train_digits):
    with pytest.raises(Stopped):
        train_digits(epochs=3, name="cut", tell=stop_at(2, 3))
    run = Path("runs/cut")
    holder = "import sys\nfrom pathlib import Path\nfrom cnnlab.training.lock import only_process\n"
    holder += "with only_process(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(MachineError, match=f"in use by process {process.pid}"):
            resume(run, Settings())
        process.kill()
        process.wait(30)
    assert (run / ".lock").is_file()  # of a dead process
    with only_process(run), pytest.raises(MachineError, match="in use"), only_process(run):
        pass
    assert len(resume(run, Settings()).rows) == 3
    assert not (run / ".lock").exists()


def test_bad_numbers_keep_the_last_checkpoint_and_the_best(train_digits, monkeypatch):
    """The third epoch's first gradient is made infinite: named, and nothing of before is touched."""
    from cnnlab.training.engines.torch import TorchEngine

    step = TorchEngine.step

    def spoilt(self, batch, lr, key, *rest):
        if (key.epoch, key.step) == (3, 1):
            bias = dict(self.net.named_parameters())["fc2.bias"]
            bias.register_hook(lambda gradient: gradient * float("inf"))
            lowest = dict(self.net.named_parameters())["fc1.bias"]
            lowest.register_hook(lambda gradient: gradient * float("nan"))
        return step(self, batch, lr, key, *rest)

    monkeypatch.setattr(TorchEngine, "step", spoilt)
    with pytest.raises(NumericError, match=r"epoch 3, step 2: .* gradient of fc2\.bias; what epoch 2 left") as caught:
        train_digits("mlp:depth=1,width=16,batch_norm=false", epochs=5, name="bad")
    assert "--lr" in caught.value.hint
    assert "clip_norm" in caught.value.hint
    last, best = (checkpoint.load(Path("runs/bad/checkpoints"), name) for name in ("last", "best"))
    assert last.meta["epoch"] == 2
    assert best.meta["epoch"] <= 2
    assert len(RunFolder(Path("runs/bad")).rows()) == 2


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_a_weight_that_became_infinite_is_named_with_its_step(train_digits, engine):
    from cnnlab.training.prepare import Prepared

    engines = []

    def tell(event):
        if isinstance(event, EpochDone):
            weights = engines[0].weights()
            engines[0].load_weights(weights | {"fc1.weight": np.full_like(weights["fc1.weight"], np.inf)})

    def remember(self):
        if self.engine not in engines:
            engines.append(self.engine)
        return original(self)

    original = Prepared.steps_per_epoch.fget
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Prepared, "steps_per_epoch", property(remember))
        with pytest.raises(
            NumericError, match=r"epoch 2, step 1: the first bad tensor is fc1\.weight, which the update"
        ):
            train_digits("mlp:depth=1,width=8", engine=engine, epochs=3, tell=tell)


def test_divergence_with_finite_numbers_is_reported_once(train_digits):
    events = []
    options = ("optim.name=sgd", "optim.lr=10", "optim.schedule=constant", "optim.warmup=0")
    rows = train_digits("mlp", *options, tell=events.append, epochs=3).rows
    assert all(row.train_loss > 100 for row in rows)
    told = [event.text for event in events if isinstance(event, Notice) and "diverges" in event.text]
    assert len(told) == 1
    assert "that of guessing 2.303" in told[0]


@pytest.mark.parametrize("spec", ["mlp", CNN])
def test_a_sound_run_is_not_called_diverging(train_digits, spec):
    events = []
    train_digits(spec, tell=events.append, epochs=2)
    assert not [event for event in events if isinstance(event, Notice) and "diverges" in event.text]
    assert sum(isinstance(event, RunStarted) for event in events) == 1


def test_of_a_checkpoint_without_its_recipe_no_other_split_is_said():
    """As the first format was."""
    data = SimpleNamespace(fingerprint="same", val=None)
    prepared = SimpleNamespace(recipe=resolve(recipe="mlp"), data=data, val=object())
    saved = {"data_fingerprint": "same", "recipe": prepared.recipe.model_dump() | {"seed": 1}}
    assert shares_images(prepared, saved)
    assert not shares_images(prepared, {"data_fingerprint": "same"})
