"""A comparison from the command to its files; stopped anywhere, gone on with, run twice."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cnnlab
from cnnlab.comparison import compare as core
from cnnlab.comparison import page, pictures
from cnnlab.comparison.clock import Clock
from cnnlab.comparison.contestants import enter
from cnnlab.comparison.events import CompareStarted, RunBegan, RunEnded, RunEpoch, RunReused, RunStep
from cnnlab.comparison.files import _csv, write_files
from cnnlab.comparison.plan import is_repeatable
from cnnlab.comparison.reuse import FinishedRuns
from cnnlab.data import load
from cnnlab.errors import MachineError, NumericError, UsageError
from cnnlab.recipe.load import from_file
from cnnlab.report import figures
from cnnlab.training.events import EpochDone, Loading, RunFinished, StepDone
from cnnlab.training.lock import only_process
from cnnlab.training.run_folder import list_runs
from cnnlab.training.settings import Settings

NETS = ("a=mlp:depth=1,width=8", "b=mlp:depth=1,width=16,batch_norm=false")
SMALL = {"data": "digits", "epochs": 2, "batch_size": 128, "threads": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Pictures and page have tests of their own."""
    monkeypatch.setattr(page, "write_page", lambda comparison: None)
    monkeypatch.setattr(pictures, "draw_pictures", lambda comparison: [])
    monkeypatch.setattr(figures, "draw_curves", lambda *_, **options: None)
    monkeypatch.setattr(figures, "draw_gradients", lambda *_: None)


def compared(*specs, tell=None, **options):
    events = []

    def listen(event):
        events.append(event)
        if tell is not None:
            tell(event)

    return cnnlab.compare(*(specs or NETS), **{**SMALL, **options}, tell=listen), events


def timeless(folder):
    """comparison.json without times and places."""
    text = (folder / "comparison.json").read_text(encoding="utf-8").replace(json.dumps(str(folder))[1:-1], "FOLDER")

    def stripped(value):
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in ("seconds", "images_per_s")}
        return [stripped(item) for item in value] if isinstance(value, list) else value

    return stripped(json.loads(text))


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A comparison of two nets and two seeds that nobody disturbed."""
    out = tmp_path_factory.mktemp("left-alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setattr(page, "write_page", lambda comparison: None)
        patch.setattr(pictures, "draw_pictures", lambda comparison: [])
        comparison, events = compared(out=out, name="one", seeds=2)
    return comparison, events


def test_the_document_has_what_it_promises(left_alone):
    comparison, _ = left_alone
    document = json.loads((comparison.folder / "comparison.json").read_text())
    assert document == json.loads(json.dumps(comparison.document()))
    assert {"data", "data_requested", "fallback", "seeds", "epochs", "contestants", "tests"} <= set(document)
    assert (document["data"], document["fallback"], document["seeds"], document["epochs"]) == (
        "digits",
        False,
        [0, 1],
        2,
    )
    first = document["contestants"][0]
    assert {"name", "weight_layers", "parameters", "macs", "best_epoch", "train_loss", "val_loss", "gap",
            "test_acc_mean", "test_acc_std", "seconds", "runs"} <= set(first)  # fmt: skip
    assert set(document["tests"][0]) >= {"a", "b", "difference", "ci_low", "ci_high", "only_a", "only_b", "p_mcnemar",
                                         "p_seeds", "verdict"}  # fmt: skip
    # 64 inputs, 8 units, 10 outputs; batch normalisation has two numbers a unit, and stands for the bias.
    assert (first["parameters"], first["macs"]) == (64 * 8 + 16 + 80 + 10, 64 * 8 + 80)
    assert first["gap"] == pytest.approx(first["val_loss"] - first["train_loss"])


def test_figures_are_those_of_the_runs(left_alone):
    comparison, _ = left_alone
    for contestant in comparison.contestants:
        assert [run.seed for run in contestant.runs] == [0, 1]
        for run in contestant.runs:
            result = json.loads((run.folder / "result.json").read_text())
            assert run.test_acc == result["test_acc"] == run.correct.mean()
            assert run.test_loss == pytest.approx(result["test_loss"])
            assert run.confusion.sum() == 360
            assert np.trace(run.confusion) == run.correct.sum()
        accuracies = [run.test_acc for run in contestant.runs]
        assert contestant.test_acc_mean == pytest.approx(sum(accuracies) / 2)
        assert contestant.test_acc_std == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)


def test_everything_but_the_net_is_the_same_for_all(left_alone):
    comparison, _ = left_alone
    recipes = [[from_file(run.folder / "recipe.yaml") for run in one.runs] for one in comparison.contestants]
    for a, b in zip(*recipes, strict=True):
        assert a.model != b.model
        assert a.model_copy(update={"model": b.model}) == b


def test_the_tables_say_what_the_document_says(left_alone):
    comparison, _ = left_alone
    with (comparison.folder / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["contestant"], row["seed"], row["epoch"]) for row in rows] == [
        (name, str(seed), str(epoch)) for name in "ab" for seed in (0, 1) for epoch in (1, 2)
    ]
    assert float(rows[0]["val_loss"]) == comparison.contestants[0].runs[0].rows[0]["val_loss"]
    with (comparison.folder / "comparison.csv").open(newline="") as file:
        assert [row["test_acc_mean"] for row in csv.DictReader(file)] == [
            str(one.test_acc_mean) for one in comparison.contestants
        ]
    text = (comparison.folder / "comparison.md").read_text(encoding="utf-8")
    assert text.count("\n| a |") == text.count("\n| b |") == 1
    assert "360 test images; at most 2 epochs; seeds: 0, 1" in text


def test_progress_is_told_run_by_run_with_the_time_left(left_alone):
    _, events = left_alone
    started = next(event for event in events if isinstance(event, CompareStarted))
    assert (started.runs, started.finished, started.epochs) == (4, 0, 2)
    began = [event for event in events if isinstance(event, RunBegan)]
    assert [(event.contestant, event.seed, event.number) for event in began] == [
        ("a", 0, 1), ("b", 0, 2), ("a", 1, 3), ("b", 1, 4),
    ]  # fmt: skip
    assert began[0].seconds_left is None
    assert all(event.seconds_left > 0 for event in began[1:])
    assert [event.row["epoch"] for event in events if isinstance(event, RunEpoch)] == [1, 2] * 4
    steps = [event for event in events if isinstance(event, RunStep) and event.number == 1]
    assert [step.share for step in steps] == [pytest.approx((i + 1) / 20) for i in range(20)]
    assert [event for event in events if isinstance(event, RunEnded)][-1].seconds_left == 0


def test_the_same_again_trains_nothing_and_says_the_same(left_alone):
    comparison, _ = left_alone
    before = timeless(comparison.folder)
    _, events = compared(out=comparison.folder.parent, name="one", seeds=2)
    assert not any(isinstance(event, StepDone) for event in events)
    assert sum(isinstance(event, RunReused) for event in events) == 4
    assert timeless(comparison.folder) == before


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    ("kind", "count"), [(CompareStarted, 1), (EpochDone, 1), (RunFinished, 1), (StepDone, 47), (Loading, -1)]
)
def test_killed_anywhere_and_started_again_it_ends_the_same(left_alone, tmp_path, kind, count):
    seen = []

    def kill(event):
        testing = isinstance(event, Loading) and event.task.startswith("testing b, seed 1")
        if isinstance(event, kind) and (kind is not Loading or testing):
            seen.append(event)
            if count in (len(seen), -1):
                raise Killed

    with pytest.raises(Killed):
        compared(tell=kill, out=tmp_path, name="one", seeds=2)
    assert not (tmp_path / "one" / "comparison.json").exists()
    comparison, events = compared(out=tmp_path, name="one", seeds=2)
    assert timeless(comparison.folder) == timeless(left_alone[0].folder)
    if kind is RunFinished:
        assert not any(isinstance(event, RunBegan) and event.number == 1 for event in events)


def test_a_finished_run_of_the_same_recipe_is_taken(own_world):
    flags = {key: SMALL[key] for key in ("data", "epochs", "batch_size", "threads", "device")}
    trained = cnnlab.train(NETS[0].partition("=")[2], **flags).run
    comparison, events = compared(name="one")
    assert comparison.contestants[0].runs[0].folder == trained
    assert [(event.contestant, event.folder) for event in events if isinstance(event, RunReused)] == [("a", trained)]
    assert any(str(trained) in notice for notice in comparison.notices)
    environment = json.loads((trained / "environment.json").read_text())
    (trained / "environment.json").write_text(json.dumps({**environment, "cnnlab": "0.0.0"}))
    _, events = compared(name="two", epochs=2)
    assert [event.folder.parts[1] for event in events if isinstance(event, RunReused)] == ["one"]


@pytest.mark.parametrize(
    ("change", "taken"), [({}, True), ({"processes": 2}, False), ({"init_from": {"run": "x", "sha256": "y"}}, False)]
)
def test_only_a_run_made_as_it_would_be_made_now_is_taken(own_world, change, taken):
    flags = {key: SMALL[key] for key in ("data", "epochs", "batch_size", "threads", "device")}
    run = cnnlab.train(NETS[0].partition("=")[2], **flags).run
    environment = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**environment, **change}))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    recipe = from_file(run / "recipe.yaml")
    found = FinishedRuns(run.parent, load("digits"), Settings(device="cpu")).find(recipe)
    assert torch.get_num_threads() == 2  # looking changes nothing of a training that is under way
    torch.set_num_threads(threads)
    assert (found is not None) is taken


def test_a_locked_folder_beside_finished_runs_is_passed_over(own_world, digits_run, monkeypatch):
    (own_world / "runs/other/runs").mkdir(parents=True)
    shutil.copytree(digits_run, own_world / "runs/mine")

    def locked(folder):
        if folder == Path("runs/other/runs"):
            raise MachineError(f"cannot read {folder}: Permission denied")
        return list_runs(folder)

    monkeypatch.setattr("cnnlab.comparison.reuse.list_runs", locked)
    found = FinishedRuns(Path("runs"), load("digits"), Settings())
    assert [run.path.name for runs in found.by_recipe.values() for run in runs] == ["mine"]


def test_the_same_recipe_and_seed_under_two_labels_is_trained_once(own_world):
    comparison, events = compared("x=mlp:depth=1,width=8", "y=mlp:depth=1,width=8")
    assert sum(isinstance(event, RunBegan) for event in events) == 1
    assert (
        comparison.answer
        == "no difference between x and y is shown: of 360 test images they get the very same ones right"
    )
    assert "y is x again: the same trained net under another name" in comparison.notices


def test_seeds_that_two_names_share_in_part_are_told():
    def contestant(name, *folders):
        return SimpleNamespace(name=name, runs=[SimpleNamespace(folder=Path(folder)) for folder in folders])

    assert core._the_same_nets([contestant("x", "0", "1"), contestant("y", "1", "2"), contestant("z", "3", "4")]) == [
        "y is x again with 1 of 2 seeds: the same trained net under another name"
    ]


def test_what_a_run_began_from_is_told_and_further_seeds_of_it_are_refused(own_world):
    options = {"arch": "mlp:depth=1,width=8", **SMALL}
    cnnlab.train(**options, name="a")
    cnnlab.train(**options, name="b", init_from="a")
    cnnlab.train(**options, name="n", engine="numpy")
    comparison, _ = compared("b=runs/b", "mlp:depth=1,width=8")
    assert any(notice.startswith("b began from the weights of") for notice in comparison.notices)
    with pytest.raises(UsageError, match="b began from the weights of another run"):
        compared("b=runs/b", "mlp:depth=1,width=8", seeds=2)
    with pytest.raises(UsageError, match="n was trained by the engine numpy"):
        compared("n=runs/n", "mlp:depth=1,width=8", seeds=2)


def test_further_seeds_of_runs_of_different_lengths_are_refused(own_world):
    cnnlab.train("mlp:depth=1,width=8", name="short", **SMALL)
    cnnlab.train("mlp:depth=1,width=16", name="long", **SMALL | {"epochs": 3})
    comparison, _ = compared("short", "long", epochs=None)
    assert any("no equal budget" in notice for notice in comparison.notices)
    short, long = enter(("short", "long"), settings=(), flags={}, out=Path("runs"), trust_code=False)
    assert [is_repeatable(short, 3, "torch"), is_repeatable(long, 3, "torch")] == [False, True]
    assert not is_repeatable(long, 3, "numpy")
    with pytest.raises(UsageError, match=r"short is a run of 2 epochs; its further seeds .* for 3") as caught:
        compared("short", "long", epochs=None, seeds=2)
    assert f"short={Path('runs/short/recipe.yaml')}" in caught.value.hint


def test_a_run_that_is_not_finished_goes_on(own_world):
    def stop(event):
        if isinstance(event, EpochDone):
            raise Killed

    with pytest.raises(Killed):
        cnnlab.train(
            "mlp:depth=1,width=8", data="digits", epochs=2, batch_size=128, name="half", device="cpu", tell=stop
        )
    comparison, events = compared("half", "mlp:depth=1,width=16", epochs=None)
    assert [event.first_epoch for event in events if isinstance(event, RunBegan)] == [2, 1]
    assert comparison.contestants[0].runs[0].folder == Path("runs/half")
    assert Path("runs/half/result.json").is_file()


def test_another_comparison_under_the_same_name_is_refused_with_the_difference(own_world):
    compared(name="one", epochs=1)
    for options, text in (
        ({"epochs": 3}, "its epochs: 1; now 3"),
        ({"epochs": 1, "seed": 1}, r"its seeds: \[0\]; now \[1\]"),
        ({"epochs": 1, "lr": 0.5}, "the recipe of a, b was another"),
    ):
        with pytest.raises(UsageError, match=f"holds another comparison: {text}"):
            compared(name="one", **options)
    with pytest.raises(UsageError, match="its contestants: a, b; now a, c"):
        compared(NETS[0], "c=mlp", name="one", epochs=1)


def test_more_seeds_go_on_with_a_comparison(own_world, left_alone):
    compared(name="one", seeds=1)
    comparison, events = compared(name="one", seeds=2)
    assert sum(isinstance(event, RunBegan) for event in events) == 2
    assert timeless(comparison.folder)["contestants"] == timeless(left_alone[0].folder)["contestants"]
    with pytest.raises(UsageError, match=r"its seeds: \[0, 1\]; now \[0\]"):
        compared(name="one", seeds=1)


def test_what_ended_before_its_plan_was_kept_goes_on(own_world, monkeypatch):
    def full(path, document):
        raise MachineError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(core, "write_json", full)
        with pytest.raises(MachineError):
            compared(name="one")
    assert len(compared(name="one")[0].contestants) == 2


def test_folders_that_are_no_comparison_are_left_alone(own_world, digits_run):
    shutil.copytree(digits_run, "runs/taken")
    with pytest.raises(UsageError, match="already exists and is not a comparison"):
        compared(name="taken")
    with pytest.raises(UsageError, match="is made of letters, digits, dots, dashes and underscores, at most 60"):
        compared(name="a/b")


def test_one_process_at_a_time(own_world):
    Path("runs/one").mkdir(parents=True)
    with only_process(Path("runs/one")), pytest.raises(MachineError, match="is in use by process"):
        compared(name="one")


def test_bad_numbers_tell_whose_they_are(own_world):
    explosive = "optim.lr=1000,optim.name=sgd,optim.momentum=0.99,optim.schedule=constant,batch_norm=false"
    with pytest.raises(NumericError, match=r"^wild, seed 0: "):
        compared("tame=mlp:depth=1,width=8", f"wild=mlp:depth=1,width=8,activation=identity,{explosive}")


def test_with_test_labels_permuted_no_contestant_beats_chance(own_world, monkeypatch):
    load = core.load_data

    def permuted(*arguments):
        data = load(*arguments)
        labels = np.random.default_rng(0).permutation(data.test.labels)
        return replace(data, test=replace(data.test, labels=labels))

    learning = {"epochs": 8, "lr": 0.01, "set": ("train.ema=0",)}
    honest, _ = compared(name="honest", **learning)
    monkeypatch.setattr(core, "load_data", permuted)
    comparison, _ = compared(name="permuted", **learning)
    assert all(contestant.beats_chance for contestant in honest.contestants)
    assert not any(contestant.beats_chance for contestant in comparison.contestants)
    assert comparison.tests[0].better is None
    text = (comparison.folder / "comparison.md").read_text(encoding="utf-8")
    assert "- a is not shown to be better than guessing (10." in text


def test_digits_stand_in_for_what_could_not_be_had_and_say_so(own_world):
    command = ("cnnlab", "compare", *NETS, "--offline", "--name", "one", "--epochs", "1")
    comparison, _ = compared(data=None, offline=True, epochs=1, name="one", command=command)
    assert (comparison.data, comparison.data_requested, comparison.fallback) == ("digits", "cifar10", True)
    # The same name would be that of another comparison, and offline there is nothing to be had.
    assert comparison.real_command == f"cnnlab compare {NETS[0]} {NETS[1]} --epochs 1 --data cifar10"
    assert "standing in for cifar10" in (comparison.folder / "comparison.md").read_text(encoding="utf-8")


def test_strangers_names_are_literal_in_the_tables(own_world):
    comparison, _ = compared("<b>|x*=mlp:depth=1,width=8", "\x1b[31mred=mlp:depth=1,width=4", epochs=1)
    text = (comparison.folder / "comparison.md").read_text(encoding="utf-8")
    assert "| \\<b\\>\\|x\\* |" in text
    assert "\x1b" not in text
    assert "\x1b" not in (comparison.folder / "comparison.csv").read_text()


def test_no_cell_of_the_tables_is_a_formula(make_comparison, own_world):
    names = ("=1+1", "+1", "-1", "@A1", "\t=1", "a=1")
    write_files(make_comparison(own_world, names, data="=x"))
    for file, column in (("comparison.csv", "name"), ("comparison.csv", "arch"), ("curves.csv", "contestant")):
        with (own_world / file).open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert list(dict.fromkeys(row[column] for row in rows)) == [f"'{name}" for name in names[:-1]] + ["a=1"]
    assert rows[0]["train_loss"] == "2.07"
    assert _csv([{"text": "-0.5", "number": -0.5}, {"text": "@1", "number": None}]) == (
        "text,number\n'-0.5,-0.5\n'@1,\n"
    )


def test_the_clock_judges_others_by_what_it_timed():
    clock = Clock([100, 400])
    assert clock.left([0, 1]) is None
    clock.epoch(0, 2.0, 0.1)
    assert clock.left([]) == 0
    assert clock.left([0]) == 20
    assert clock.left([1]) == 40  # four times the multiply-adds, twice the time
    assert clock.left([1], present=0, share=0.75) == 45
    clock.epoch(1, 3.0, 0.1)
    assert clock.left([1]) == 30
