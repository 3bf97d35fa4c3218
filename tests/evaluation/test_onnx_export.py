"""The exported net takes raw pictures, in any number, and predicts what the net predicts."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnlab.data import load
from cnnlab.errors import MachineError, NumericError, UsageError
from cnnlab.evaluation import onnx_export
from cnnlab.evaluation.evaluate import evaluate
from cnnlab.evaluation.onnx_export import check_export, export
from cnnlab.evaluation.opened import Changes, open_run

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
FP32 = Changes(precision="fp32")


def predict(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"images": images.transpose(0, 3, 1, 2).astype(np.float32)})
    return outputs


def test_the_file_predicts_what_the_net_predicts(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    opened, images = open_run(run, FP32, device="cpu"), load("digits").test.images
    exported = export(opened, Path("net.onnx"), images)
    assert capfd.readouterr() == ("", "")
    assert (exported.checked, exported.same_top1) == (360, 360)
    assert exported.max_difference is not None
    assert exported.max_difference < 1e-3
    np.testing.assert_allclose(predict(exported.path, images), opened.engine.predict(images), atol=1e-3)
    for count in (1, 7):
        assert predict(exported.path, images[:count]).shape == (count, 10)
    assert [path.name for path in Path().glob("*")] == ["runs", "net.onnx"] or len(list(Path().glob("*.onnx*"))) == 1


def test_the_file_says_what_it_takes_and_gives(run: Path) -> None:
    import onnx

    export(open_run(run, device="cpu"), Path("net.onnx"), load("digits").test.images[:10])
    model = onnx.load("net.onnx")
    onnx.checker.check_model(model, full_check=True)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list("0123456789")
    assert "levels 0-255" in about["input"]
    assert [entry.name for entry in model.graph.input] == ["images"]
    assert [entry.name for entry in model.graph.output] == ["logits"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param  # any number of pictures


def test_a_net_of_convolutions_and_rgb_pictures(picture_run: tuple[Path, Path]) -> None:
    from cnnlab.recipe.load import resolve
    from cnnlab.recipe.spec import parse_spec
    from cnnlab.training.loop import train
    from cnnlab.training.settings import Settings

    data, _ = picture_run
    flags = {"--data": str(data), "--epochs": 1, "--batch-size": 12}
    recipe = resolve(arch=parse_spec("resnet:depth=8,width=4"), flags=flags)
    trained = train(recipe, Settings(out=Path("runs"), name="resnet", device="cpu")).run
    found = evaluate(trained, device="cpu", onnx=Path("resnet.onnx"))
    assert found.onnx is not None
    assert (found.onnx.checked, found.onnx.same_top1) == (24, 24)
    assert found.document()["export"]["path"] == "resnet.onnx"


def test_a_file_that_predicts_otherwise_is_not_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_export._to_onnx

    def wrong(net: torch.nn.Module, opened: object) -> bytes:
        net.mean += 60
        content = real(net, opened)
        net.mean -= 60
        return content

    monkeypatch.setattr(onnx_export, "_to_onnx", wrong)
    with pytest.raises(NumericError, match="another class"):
        export(open_run(run, device="cpu"), Path("net.onnx"), load("digits").test.images)
    assert not list(Path().glob("*.onnx"))


def test_a_net_that_cannot_be_exported_is_a_usage_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Branching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) if float(images.sum()) > 0 else images.flatten(1) * 2

    monkeypatch.setattr(onnx_export, "_with_normalisation", lambda _: Branching())
    with pytest.raises(UsageError, match="cannot be exported"):
        export(open_run(run, device="cpu"), Path("net.onnx"), load("digits").test.images)
    assert not list(Path().glob("*.onnx"))


def test_without_the_extra_nothing_is_begun(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_export.importlib.util.find_spec
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None if name == "onnx" else real(name))
    with pytest.raises(UsageError, match="not installed") as raised:
        evaluate(run, device="cpu", onnx=Path("net.onnx"))
    assert raised.value.hint == 'Install it: pip install "cnnlab[onnx]"'
    assert not (run / "evaluation").exists()


def test_without_onnxruntime_it_is_written_unchecked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_export.importlib.util.find_spec
    monkeypatch.setattr(
        onnx_export.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else real(name)
    )
    exported = export(open_run(run, device="cpu"), Path("net.onnx"), load("digits").test.images)
    assert (exported.checked, exported.max_difference) == (0, None)
    assert exported.path.stat().st_size == exported.bytes
    assert sys.getsizeof(exported) > 0


@pytest.mark.parametrize("name", ["net.pt", "onnx", "net.onnx.txt"])
def test_another_ending_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"ending in \.onnx"):
        check_export(Path(name))


def test_a_folder_that_there_is_not() -> None:
    with pytest.raises(MachineError, match="no such folder"):
        check_export(Path("nowhere/net.onnx"))
