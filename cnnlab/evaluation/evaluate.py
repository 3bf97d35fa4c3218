"""All figures of a run on one part of a data set, with pictures and files."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from cnnlab.choices import DeviceName, SplitName, require_choice
from cnnlab.data import Part
from cnnlab.errors import DataError
from cnnlab.evaluation import measures, views
from cnnlab.evaluation.chosen import Chosen, choose
from cnnlab.evaluation.measures import Calibration, ClassFigures
from cnnlab.evaluation.onnx_export import Exported, check_export, export
from cnnlab.evaluation.opened import AS_IT_IS, Changes, OpenRun, open_run
from cnnlab.files import require_no_link, writing
from cnnlab.report import evaluation_figures as figures
from cnnlab.text import cut, with_stand_in
from cnnlab.training import metrics
from cnnlab.training.engines.base import Engine
from cnnlab.training.events import Notice, Tell, tell_nobody
from cnnlab.training.run_folder import safe_name, write_json
from cnnlab.training.settings import Settings

LISTED_MISTAKES = 100
"""Mistakes named in the result; the picture shows fewer."""
_TIMED_SECONDS = 0.5


@dataclass(frozen=True)
class Mistake:
    """A picture taken for another class."""

    image: str | int
    """Its file, or its index in the part where pictures are not files."""
    label: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Views:
    """Accuracy with outputs averaged over views of each picture (`--tta`)."""

    views: int
    top1: float
    top5: float | None


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth on `n` pictures. Shares in [0, 1]."""

    run: Path
    arch: str
    split: SplitName
    data: str
    data_requested: str
    fallback: bool
    epoch: int
    finished: bool
    top1: float
    top5: float | None
    """None with five classes or fewer."""
    loss: float
    """The recipe's loss, mean over pictures."""
    classes: tuple[ClassFigures, ...]
    confusion: np.ndarray
    """(classes, classes) int64, rows are true classes."""
    calibration: Calibration
    mistakes: tuple[Mistake, ...]
    """The most confident first, at most `LISTED_MISTAKES`."""
    images_per_s: float
    device: str
    precision: str
    labels: np.ndarray
    """(N,) int64."""
    predictions: np.ndarray
    """(N,) int64, in the order of the part."""
    confidence: np.ndarray
    """(N,) float64, of the predicted class."""
    tta: Views | None = None
    onnx: Exported | None = None
    files: tuple[Path, ...] = ()

    @property
    def n(self) -> int:
        """Pictures."""
        return len(self.labels)

    def document(self) -> dict[str, Any]:
        """The result as `--json` prints it and `evaluation/<split>.json` keeps it."""
        return {
            "run": str(self.run),
            "arch": self.arch,
            "split": self.split,
            "data": self.data,
            "data_requested": self.data_requested,
            "fallback": self.fallback,
            "epoch": self.epoch,
            "finished": self.finished,
            "n": self.n,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "ece": self.calibration.ece,
            "tta": None if self.tta is None else asdict(self.tta),
            "images_per_s": self.images_per_s,
            "device": self.device,
            "precision": self.precision,
            "classes": [asdict(figures) for figures in self.classes],
            "confusion": self.confusion.tolist(),
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            "export": None if self.onnx is None else self.onnx.document(),
            "files": [str(file) for file in self.files],
        }


def evaluate(
    run: Path,
    *,
    split: SplitName = "test",
    changes: Changes = AS_IT_IS,
    tta: bool = False,
    onnx: Path | None = None,
    device: DeviceName = "auto",
    data_dir: Path | None = None,
    offline: bool = False,
    trust_code: bool = False,
    tell: Tell = tell_nobody,
) -> Evaluation:
    """Evaluate the best weights of the run in folder `run`; write pictures and result into its `evaluation/`.

    Args:
        run: the run folder (see `cnnlab.training.run_folder.find_run`).
        split: which part: test, or val or train as the run itself divided them.
        changes: other data, precision, how pictures are read.
        tta: also average over shifted and, where the data allow it, mirrored views.
        onnx: also export the net to this file.
        device: auto, cpu, cuda or mps.
        data_dir: where named data sets lie.
        offline: ask no network.
        trust_code: whether the run may name a Python file, whose code then runs.
        tell: receives `Loading` and `Notice` events.

    Raises:
        CheckpointError: a damaged or incomplete run folder.
        DataError: data that are not the run's, or do not fit it.
        UsageError: no such part, an option that does not fit the run; `onnx` without the extra.
        MachineError: no such device, data that cannot be had, a folder that cannot be written.
        NumericError: outputs that are not finite; an exported file that predicts otherwise.
    """
    require_choice("split", split, get_args(SplitName))
    if onnx is not None:
        check_export(onnx)
    require_no_link(run / "evaluation")
    opened = open_run(run, changes, device=device, trust_code=trust_code)
    if not opened.finished:
        tell(Notice(f"the run is not finished: these are the weights of its best epoch so far, {opened.epoch}"))
    settings = Settings(device=device, data_dir=data_dir, offline=offline)
    chosen = choose(opened, split, other=changes.data is not None, settings=settings, tell=tell)
    if not len(chosen.part):
        raise DataError(f"the {split} part of {chosen.data} holds no pictures")
    outputs = views.predict(opened.engine, chosen.part.images, tell)
    return _Work(opened, split, chosen, outputs, tell).evaluation(tta=tta, onnx=onnx)


@dataclass(frozen=True)
class _Work:
    """An evaluation on its way: the run has predicted."""

    run: OpenRun
    split: SplitName
    chosen: Chosen
    outputs: np.ndarray
    tell: Tell

    def evaluation(self, *, tta: bool, onnx: Path | None) -> Evaluation:
        """Measure, draw, write."""
        run, part, outputs = self.run, self.chosen.part, self.outputs
        probability = measures.probabilities(outputs, run.recipe.train.loss)
        predictions = outputs.argmax(axis=1)
        confidence = probability[np.arange(len(part)), predictions]
        right = predictions == part.labels
        order = measures.worst(confidence, right)
        top1 = metrics.accuracy(outputs, part.labels)
        self._compare_with_result(top1)
        exported = None if onnx is None else export(run, onnx, part.images)
        averaged = self._views() if tta else None
        names = [self._mistake(index, predictions, confidence) for index in order[:LISTED_MISTAKES].tolist()]
        result = Evaluation(
            run=run.folder.path,
            arch=run.arch,
            split=self.split,
            data=self.chosen.data,
            data_requested=self.chosen.data_requested,
            fallback=self.chosen.fallback,
            epoch=run.epoch,
            finished=run.finished,
            top1=top1,
            top5=measures.top5(outputs, part.labels),
            loss=float(metrics.losses(outputs, part.labels, run.recipe.train.loss).mean()),
            classes=tuple(measures.by_class(part.labels, predictions, run.classes)),
            confusion=measures.confusion_matrix(part.labels, predictions, len(run.classes)),
            calibration=measures.calibration(confidence, right),
            mistakes=tuple(names),
            images_per_s=round(throughput(run.engine, part), 1),
            device=run.engine.device,
            precision=run.engine.precision,
            labels=part.labels,
            predictions=predictions,
            confidence=confidence,
            tta=averaged,
            onnx=exported,
            files=self._files(),
        )
        self._write(result, part.images[order[: figures.SHOWN_MISTAKES]])
        return result

    def _views(self) -> Views:
        chosen = self.chosen
        seen = views.predict_views(
            self.run.engine, chosen.part.images, chosen.flip, self.run.recipe.train.loss, self.tell
        )
        labels = chosen.part.labels
        return Views(views.number_of_views(chosen.flip), metrics.accuracy(seen, labels), measures.top5(seen, labels))

    def _mistake(self, index: int, predictions: np.ndarray, confidence: np.ndarray) -> Mistake:
        part, classes = self.chosen.part, self.run.classes
        return Mistake(
            image=index if part.names is None else part.names[index],
            label=classes[part.labels[index]],
            prediction=classes[predictions[index]],
            confidence=float(confidence[index]),
        )

    def _compare_with_result(self, top1: float) -> None:
        """The run's own figures must come out again; another device or precision may move them a little."""
        result = self.run.result
        if result is None or not self.chosen.own:
            return
        expected = result.get({"test": "test_acc", "val": "val_acc"}.get(self.split, ""))
        if isinstance(expected, float) and expected != top1:
            was, now = (
                (cut(result.get("device")), cut(result.get("precision"))),
                (self.run.engine.device, self.run.engine.precision),
            )
            self.tell(
                Notice(
                    f"training measured {100 * expected:.2f} % here, on {was[0]} in {was[1]}; "
                    f"this is {100 * top1:.2f} %, on {now[0]} in {now[1]}"
                )
            )

    def _files(self) -> tuple[Path, ...]:
        """What is written: `<split>.json`, and pictures without an ending for the test part of the run's own data."""
        folder = self.run.folder.path / "evaluation"
        other = "" if self.chosen.own else f"-{safe_name(self.chosen.data)}"
        ending = "" if self.split == "test" and self.chosen.own else f"-{self.split}{other}"
        pictures = (f"{name}{ending}.png" for name in ("confusion", "classes", "calibration", "mistakes"))
        return tuple(folder / name for name in (f"{self.split}{other}.json", *pictures))

    def _write(self, result: Evaluation, worst: np.ndarray) -> None:
        document, confusion, classes, calibration, mistakes = result.files
        with writing(document.parent):
            document.parent.mkdir(exist_ok=True)
        data = with_stand_in(result.data, result.data_requested, result.fallback)
        title = f"{result.arch} on {data}, {result.split} ({result.n:,} pictures)"
        names = [figure.name for figure in result.classes]
        figures.draw_confusion(confusion, result.confusion, names, title)
        figures.draw_classes(classes, result.classes, title)
        figures.draw_calibration(calibration, result.calibration, title)
        figures.draw_mistakes(mistakes, worst, result.mistakes, title)
        write_json(document, result.document())


def throughput(engine: Engine, part: Part) -> float:
    """Pictures predicted per second, of prediction repeated for half a second; the net has been warmed up before."""
    images = part.images[: views.BATCH]
    done, started = 0, time.perf_counter()
    while True:
        engine.predict(images)
        done += len(images)
        seconds = time.perf_counter() - started
        if seconds >= _TIMED_SECONDS:
            return done / seconds
