"""The checker passes what is right, and catches what is planted: known bugs, and small ones that have no name."""

import inspect

import numpy as np
import pytest

from cnnlab import backprop
from cnnlab.backprop import Layer, Loss
from cnnlab.errors import CnnlabError, NumericError, UsageError
from cnnlab.gradient_check import BugCheck, Report, explain, failure, gradcheck
from cnnlab.gradient_check.bugs import BUGS, Bug, Planted
from cnnlab.gradient_check.cases import CASES
from cnnlab.gradient_check.check import check_layer, check_subject
from cnnlab.gradient_check.examples import EXAMPLES
from cnnlab.gradient_check.planting import check_with, judge
from cnnlab.gradient_check.subject import Subject
from cnnlab.gradient_check.verdicts import AUTOGRAD_TOLERANCE, DIFFERENCES_TOLERANCE

LAYERS = [
    name
    for name, value in vars(backprop).items()
    if inspect.isclass(value) and issubclass(value, Layer | Loss) and value not in (Layer, Loss)
]


def worst(checks, way):
    return max(getattr(check, way) for check in checks if getattr(check, way) is not None)


def test_every_layer_has_cases_an_explanation_and_a_known_bug():
    assert set(LAYERS) == set(CASES) == set(EXAMPLES) == {bug.layer for bug in BUGS.values()}
    assert len(BUGS) >= 20


@pytest.mark.parametrize("layer", sorted(CASES))
def test_every_layer_is_right(layer):
    checks = list(check_layer(layer, seed=77))
    assert [check for check in checks if check.verdict == "wrong"] == []
    assert worst(checks, "max_rel_error_fd") <= DIFFERENCES_TOLERANCE
    assert worst(checks, "max_rel_error_autograd") <= AUTOGRAD_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_no_false_alarm(seed):
    report = gradcheck(seed=seed)
    assert [check for check in report.checks if check.verdict == "wrong"] == []


def test_only_points_at_a_kink_are_called_so():
    checks = gradcheck(["ReLU", "MaxPool2d", "AvgPool2d", "Tanh", "Linear"], seed=5).checks
    kinks = {(check.layer, check.case) for check in checks if check.verdict == "kink"}
    assert {layer for layer, _ in kinks} == {"ReLU", "MaxPool2d"}
    assert all("zeros" in case or "ties" in case for _, case in kinks)


def by_value(check):
    """Whether a wrong verdict comes from numbers, not from an exception or a shape."""
    return check.verdict == "wrong" and None not in (check.worst_index, check.max_rel_error_autograd)


@pytest.mark.parametrize("name", BUGS)
def test_every_known_bug_is_caught_by_its_values(name):
    bug = BUGS[name]
    catching = next(check for check in check_with(bug, seed=3) if by_value(check))
    assert judge(bug, [catching]).caught


@pytest.mark.parametrize("layer", sorted(CASES))
@pytest.mark.parametrize("factor", [1.0005, 1 + 1e-6])
def test_a_small_factor_on_any_gradient_is_caught(layer, factor):
    """g · 1.0005 for each gradient in turn, the checker's own test; no other gradient is called wrong."""
    rng = np.random.default_rng(2)
    right = CASES[layer][0].subject(layer, rng)
    for name in right.arrays():
        bug = Bug(
            "small",
            layer,
            "a small factor",
            lambda own, x, delta, right, name=name: {name: right[name] * factor},
        )
        planted = Subject(Planted(right.layer, bug), right.x, reference=right.layer)
        checks = list(check_subject(layer, "first", planted, rng))
        wrong = {check.parameter for check in checks if check.verdict == "wrong"}
        assert {one for one in wrong if "running" not in one} == {name}
        assert all(check.max_rel_error_fd > 1e-7 for check in checks if check.parameter == name)


@pytest.mark.parametrize("layer", sorted(set(CASES) - {"HalfSquaredError", "CrossEntropyLoss"}))
def test_one_wrong_element_is_caught(layer):
    def spoil(own, x, delta, right):
        below = right["input"].copy()
        below.flat[below.size // 2] += 0.001 * np.abs(below).max() + 1e-6
        return {"input": below}

    bug = Bug("one-element", layer, "one element is wrong", spoil)
    assert judge(bug, list(check_with(bug, 2))).caught


def test_nan_and_wrong_shapes_are_wrong():
    for spoiled in (np.full((4, 5), np.nan), np.zeros((5, 4)), np.zeros(20)):
        bug = Bug("spoiled", "Linear", "", lambda own, x, delta, right, spoiled=spoiled: {"input": spoiled})
        first = next(check for check in check_with(bug, 0) if check.parameter == "input")
        assert first.verdict == "wrong"
        first.document()


def test_at_a_kink_any_gradient_between_both_sides_exists_and_no_other():
    """Differences alone (no autograd): 0 … δ pass at z = 0, 2 δ does not."""

    class Step:
        def __init__(self, slope):
            self.slope = slope

        def forward(self, x):
            self.x = x
            return np.maximum(x, 0)

        def backward(self, delta):
            return delta * np.where(self.x == 0, self.slope, self.x > 0)

    for slope, verdict in ((0, "kink"), (1, "kink"), (0.5, "kink"), (2, "wrong"), (-0.1, "wrong")):
        subject = Subject(Step(slope), np.array([[0.0, 1.0, -1.0, 0.0]]))
        (check,) = check_subject("Step", "zeros", subject, np.random.default_rng(0))
        assert check.verdict == verdict, slope


@pytest.mark.parametrize(
    "arch",
    [
        "mlp:depth=3,width=20,activation=sigmoid,dropout=0.3",
        "cnn:width=4,depth=5",
        "lenet",
        "resnet:depth=8,width=2",
        "cnn:width=2,depth=5,norm=none,pool=mean,dropout=0.2",
    ],
)
def test_whole_nets(arch):
    report = gradcheck(arch=arch, seed=4)
    assert report.passed, failure(report).message
    assert worst(report.checks, "max_rel_error_autograd") <= 1e-9
    assert len(report.checks) > 5


SEQ_WITH_USELESS_BIASES = """
model:
  arch: seq
  layers: [{conv: 8, kernel: 5}, batch-norm, relu, max-pool, flatten, {linear: 9}, batch-norm, relu, {linear: 10}]
"""


@pytest.mark.parametrize("seed", range(3))
def test_biases_before_batch_norm_are_right_though_rounding_is_all_of_them(tmp_path, seed):
    (tmp_path / "net.yaml").write_text(SEQ_WITH_USELESS_BIASES)
    report = gradcheck(arch=str(tmp_path / "net.yaml"), seed=seed)
    assert report.passed, failure(report).message
    useless = [check for check in report.checks if check.parameter in ("conv1.bias", "fc1.bias")]
    assert [check.max_rel_error_fd for check in useless] == [0, 0]


@pytest.mark.parametrize(
    ("parameter", "where"),
    [("bias", ...), ("weight", (1, 7))],  # of a weight differences look at four elements; autograd at all
)
def test_a_wrong_gradient_before_batch_norm_is_caught(tmp_path, monkeypatch, parameter, where):
    (tmp_path / "net.yaml").write_text(SEQ_WITH_USELESS_BIASES)
    right = backprop.Linear.backward

    def wrong(self, delta):
        result = right(self, delta)
        self.grads[parameter][where] += 1e-9
        return result

    monkeypatch.setattr(backprop.Linear, "backward", wrong)
    assert not gradcheck(arch=str(tmp_path / "net.yaml")).passed


def test_a_wrong_layer_in_a_whole_net_is_caught(monkeypatch):
    right = backprop.Conv2d.backward
    monkeypatch.setattr(backprop.Conv2d, "backward", lambda self, delta: right(self, delta) * 1.001)
    assert not gradcheck(arch="cnn:width=2,depth=5").passed


def test_names_are_found_whatever_their_case():
    assert {check.layer for check in gradcheck(["conv2D", "relu"]).checks} == {"Conv2d", "ReLU"}
    with pytest.raises(UsageError, match="no layer 'Convv2d'") as caught:
        gradcheck(["Convv2d"])
    assert "Conv2d" in caught.value.hint
    with pytest.raises(UsageError, match="no bug 'conv-unfliped-kernel'") as caught:
        gradcheck(inject_bug="conv-unfliped-kernel")
    assert "conv-unflipped-kernel" in caught.value.hint
    with pytest.raises(UsageError, match="--inject-bug names its layer"):
        gradcheck(["Linear"], inject_bug="all")
    with pytest.raises(UsageError, match="--seed"):
        gradcheck(seed=-1)


def test_the_python_door():
    import cnnlab

    assert cnnlab.gradcheck(["Tanh"]).passed


def test_the_seed_decides_everything():
    first, again, other = (gradcheck(["Linear"], seed=seed).document() for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_net_takes_any_seed():
    report = gradcheck(arch="mlp:width=4,depth=1", seed=2**64)
    assert report.passed, failure(report).message


def test_how_a_report_becomes_an_error():
    assert failure(Report()) is None
    caught, missed = BugCheck("a", "Linear", "", True, "x"), BugCheck("b", "Linear", "", False, None)
    assert isinstance(failure(Report(bugs=[caught])), NumericError)
    error = failure(Report(bugs=[caught, missed]))
    assert type(error) is CnnlabError
    assert error.exit_code == 1
    assert "b" in error.message


@pytest.mark.parametrize("name", sorted(CASES))
def test_explanations_state_formulas_numbers_and_place(name):
    (explanation,) = explain([name])
    assert "∂" in explanation.scalar or "δ" in explanation.scalar
    assert explanation.vector
    line = explanation.file.read_text(encoding="utf-8").splitlines()[explanation.line - 1]
    assert "def backward" in line
    assert explanation.worked.lines
    assert any(array.size >= 9 for array in explanation.worked.given.values())
    explanation.document()


def test_the_worked_convolution_is_right():
    """By hand: x = [1 2 0; −1 3 1; 2 0 −2], w = [1 0; 2 −1], δ = [1 2; −1 3]."""
    (explanation,) = explain(["Conv2d"])
    results = explanation.worked.results
    assert results["z = x ⋆ w"].tolist() == [[-4, 7], [3, 5]]
    assert results["∂J/∂w = x ⋆ δ"].tolist() == [[15, 2], [3, -1]]
    assert results["∂J/∂x = pad(δ) ⋆ rot180(w)"].tolist() == [[1, 2, 0], [1, 6, -2], [-2, 7, -3]]
