"""A user's own layer: recognised by its forward, checked, and matched against the known bugs."""

import re

import pytest

from cnnlab.errors import DataError, UsageError
from cnnlab.gradient_check import gradcheck
from cnnlab.gradient_check.bugs import BUGS

# Written without cnnlab, as a student would.
CONV = """
import numpy as np

class Convolution:
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=True):
        two = lambda v: v if isinstance(v, tuple) else (v, v)
        self.k, self.s, self.p = two(kernel_size), two(stride), two(padding)
        self.weight = np.zeros((out_channels, in_channels, *self.k))
        self.bias = np.zeros(out_channels) if bias else None
        self.grads = {}

    def window(self, i, j):
        return np.s_[:, :, i * self.s[0]: i * self.s[0] + self.k[0], j * self.s[1]: j * self.s[1] + self.k[1]]

    def forward(self, x):
        self.shape = x.shape
        self.x = np.pad(x, ((0, 0), (0, 0), (self.p[0],) * 2, (self.p[1],) * 2))
        rows, columns = ((self.x.shape[2 + a] - self.k[a]) // self.s[a] + 1 for a in (0, 1))
        z = np.zeros((len(x), len(self.weight), rows, columns))
        for i in range(rows):
            for j in range(columns):
                z[:, :, i, j] = np.einsum("ncuv,fcuv->nf", self.x[self.window(i, j)], self.weight)
        return z if self.bias is None else z + self.bias[None, :, None, None]

    def backward(self, delta):
        dx, self.grads["weight"] = np.zeros_like(self.x), np.zeros_like(self.weight)
        for i in range(delta.shape[2]):
            for j in range(delta.shape[3]):
                part = self.window(i, j)
                self.grads["weight"] += np.einsum("nf,ncuv->fcuv", delta[:, :, i, j], self.x[part])
                dx[part] += np.einsum("nf,fcuv->ncuv", delta[:, :, i, j], KERNEL)
        if self.bias is not None:
            self.grads["bias"] = BIAS
        (p, q), (h, w) = self.p, self.shape[2:]
        return dx[:, :, p:p + h, q:q + w]
"""


def student(tmp_path, kernel="self.weight", bias="delta.sum((0, 2, 3))"):
    file = tmp_path / "layer.py"
    file.write_text(CONV.replace("KERNEL", kernel).replace("BIAS", bias), encoding="utf-8")
    return f"{file}:Convolution"


def test_a_right_layer_passes_every_case(tmp_path):
    report = gradcheck([student(tmp_path)])
    assert report.passed
    assert report.skipped == []
    assert {check.parameter for check in report.checks} == {"output", "input", "weight", "bias"}
    assert all(check.max_rel_error_autograd is not None for check in report.checks)


@pytest.mark.parametrize(
    ("kernel", "bias", "bugs"),
    [
        ("self.weight[:, :, ::-1, ::-1]", "delta.sum((0, 2, 3))", {"conv-unflipped-kernel"}),
        ("self.weight", "delta.sum(0).mean((1, 2))", {"conv-bias-mean"}),
        ("self.weight", "delta.mean(0).sum((1, 2))", {"conv-bias-batch-mean"}),
        ("self.weight", "delta.mean((0, 2, 3))", {"conv-bias-whole-mean"}),
        (
            "self.weight[:, :, ::-1, ::-1]",
            "delta[:, :, 0, 0].sum(0)",
            {"conv-unflipped-kernel", "conv-bias-one-position"},
        ),
        ("0.7 * self.weight", "delta.sum((0, 2, 3))", set()),
    ],
)
def test_a_wrong_layer_is_told_which_known_mistake_it_makes(tmp_path, kernel, bias, bugs):
    report = gradcheck([student(tmp_path, kernel, bias)])
    assert not report.passed
    assert {match.bug for match in report.matches} == bugs


@pytest.mark.parametrize(
    ("line", "bug"), [("dx[part]", "conv-overlap-overwritten"), ('self.grads["weight"]', "conv-last-position")]
)
def test_assigning_where_windows_have_to_add_up_is_named(tmp_path, line, bug):
    spec = student(tmp_path)
    file = tmp_path / "layer.py"
    file.write_text(file.read_text(encoding="utf-8").replace(f"{line} +=", f"{line} ="), encoding="utf-8")
    assert {match.bug for match in gradcheck([spec]).matches} == {bug}


NETS = ("Sequential", "Residual", "HalfSquaredError", "CrossEntropyLoss")
MATCHED = sorted(name for name, bug in BUGS.items() if bug.layer not in NETS)
OFTEN = ("avgpool-sum", "linear-weight-mean", "maxpool-ties-to-the-last", "dropout-unscaled")

WRAPPED = """
from cnnlab import backprop
from cnnlab.gradient_check.bugs import BUGS

class Mine:
    def __init__(self, *arguments, **options):
        vars(self)["inner"] = backprop.LAYER(*arguments, **options)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(vars(self)["inner"], name)

    def __setattr__(self, name, value):
        setattr(self.inner if hasattr(self.inner, name) else self, name, value)

    def forward(self, x):
        vars(self)["x"] = x
        return self.inner.forward(x)

    def backward(self, delta):
        right = {"input": self.inner.backward(delta), **self.inner.grads}
        wrong = BUGS["NAME"].wrong(self.inner, self.x, delta, right)
        self.inner.grads.update({key: value for key, value in wrong.items() if key != "input"})
        return wrong.get("input", right["input"])
"""


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in MATCHED]
)
def test_each_known_bug_in_a_users_layer_is_named(tmp_path, name):
    file = tmp_path / "mine.py"
    file.write_text(WRAPPED.replace("LAYER", BUGS[name].layer).replace("NAME", name), encoding="utf-8")
    report = gradcheck([f"{file}:Mine"])
    assert not report.passed
    assert name in {match.bug for match in report.matches}


def write(tmp_path, text):
    file = tmp_path / "layer.py"
    file.write_text("import numpy as np\n" + text, encoding="utf-8")
    return file


def test_a_users_loss(tmp_path):
    file = write(
        tmp_path,
        "class Squares:\n"
        "    def forward(self, output, target):\n"
        "        hot = np.eye(output.shape[1])[target] if target.ndim == 1 else target\n"
        "        self.d = output - hot\n"
        "        return 0.5 * (self.d ** 2).sum() / len(output)\n"
        "    def backward(self):\n"
        "        return 2 * self.d / len(self.d)\n",
    )
    assert [match.bug for match in gradcheck([f"{file}:Squares"]).matches] == ["halfsquared-factor-two"]


def test_an_unknown_function_is_checked_by_differences_alone(tmp_path):
    text = (
        "class Cube:\n"
        "    def forward(self, x): self.x = x; return x ** 3\n"
        "    def backward(self, delta): return FACTOR * self.x ** 2 * delta\n"
    )
    report = gradcheck([f"{write(tmp_path, text.replace('FACTOR', '3'))}:Cube"])
    assert report.passed
    assert all(check.max_rel_error_autograd is None for check in report.checks)
    assert not gradcheck([f"{write(tmp_path, text.replace('FACTOR', '2'))}:Cube"]).passed


def test_a_wrong_forward_of_a_known_layer_is_found_too(tmp_path):
    file = write(
        tmp_path,
        "class Tanh:\n"
        "    def forward(self, x): self.a = np.tanh(x) + (np.abs(x) > 6); return self.a\n"
        "    def backward(self, delta): return delta * (1 - self.a ** 2)\n",
    )
    report = gradcheck([f"{file}:Tanh"])
    assert {(check.case, check.parameter) for check in report.checks if check.verdict == "wrong"} >= {
        ("large and small values", "output")
    }


def test_options_of_the_spec_go_to_the_constructor(tmp_path):
    report = gradcheck([student(tmp_path) + ":in_channels=3,out_channels=2,kernel_size=3,stride=2"])
    assert report.passed
    assert report.checks


@pytest.mark.parametrize(
    ("text", "name", "error", "told"),
    [
        ("class A: pass", "A", UsageError, "has no forward and no backward"),
        ("class A: pass", "B", UsageError, "has no class B"),
        ("1 / 0", "A", DataError, "fails when it is run: ZeroDivisionError"),
        ("exit(0)", "A", DataError, "fails when it is run: SystemExit: 0"),
        ("class A(", "A", DataError, "fails when it is run: SyntaxError"),
        (
            "class A:\n    def __init__(self, n): pass\n    forward = backward = lambda self, x: x",
            "A",
            UsageError,
            "A could not be made: TypeError",
        ),
        ("class A:\n    forward = backward = lambda self, x: 1 / 0", "A", UsageError, "accepts none of the inputs"),
    ],
)
def test_files_that_are_no_layer(tmp_path, text, name, error, told):
    with pytest.raises(error, match=told):
        gradcheck([f"{write(tmp_path, text)}:{name}"])


def test_a_file_that_lacks_another_is_told_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match="No module named 'a_neighbour'") as caught:
        gradcheck([f"{write(tmp_path, 'import a_neighbour')}:A"])
    assert "PYTHONPATH" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return np.maximm(x, 0)", "AttributeError: module 'numpy' has no attribute 'maximm' (layer.py:5)"),
        ("return np.linalg.solve(x, 'a')", "(layer.py:5)"),
        ("sys.exit(0)", "SystemExit: 0 (layer.py:5)"),
        ("raise ValueError('\\x1b[31m')", r"ValueError: \x1b[31m (layer.py:5)"),
        ("return x[:0]", "gives an empty output"),
    ],
)
def test_what_a_forward_ends_in_is_told_with_its_line(tmp_path, line, told):
    file = write(tmp_path, f"import sys\nclass A:\n    def forward(self, x):\n        {line}\n    backward = forward\n")
    with pytest.raises(UsageError) as caught:
        gradcheck([f"{file}:A"])
    assert "accepts none of the inputs tried" in caught.value.message
    assert caught.value.message.endswith(told)


def test_a_backward_that_fails_is_wrong_not_a_crash(tmp_path):
    file = write(
        tmp_path,
        "class Tanh:\n"
        "    def forward(self, x): return np.tanh(x)\n"
        "    def backward(self, delta): return delta @ delta @ delta\n",
    )
    report = gradcheck([f"{file}:Tanh"])
    assert all(check.verdict == "wrong" and "ValueError" in check.note for check in report.checks)
    assert report.checks


def test_missing_and_misshapen_gradients_are_named(tmp_path):
    file = write(
        tmp_path,
        "class Linear:\n"
        "    def __init__(self, i, o, bias=True):\n"
        "        self.weight, self.bias = np.zeros((o, i)), np.zeros(o) if bias else None\n"
        "    def forward(self, x):\n"
        "        self.x = x; z = x @ self.weight.T\n"
        "        return z if self.bias is None else z + self.bias\n"
        "    def backward(self, delta):\n"
        "        self.grads = {'weight': self.x.T @ delta, 'bias': delta.sum(0)}\n"
        "        return delta @ self.weight\n",
    )
    report = gradcheck([f"{file}:Linear"])
    wrong = [check for check in report.checks if check.verdict == "wrong"]
    assert {check.parameter for check in wrong} == {"weight"}
    assert wrong[0].note == "has shape (5, 3), expected (3, 5)"
    assert "linear-weight-transposed" in {match.bug for match in report.matches}


TANH = "class A:\n    def forward(self, x): self.a = np.tanh(x); return {}\n    def backward(self, delta): {}\n"
BACK = "return delta * (1 - self.a ** 2)"


@pytest.mark.parametrize(
    ("forward", "backward", "parameter", "told"),
    [
        ("self.a + 0.01 * np.random.randn(*x.shape)", BACK, "forward", "another output each time .* self.rng"),
        ("np.tanh(x, out=x)", BACK, "forward", "forward changes its input in place"),
        ("self.a * np.nan", BACK, "forward", "forward gives values that are not finite"),
        ("np.where(x > 0, np.inf, x)", BACK, "forward", "forward gives values that are not finite"),
        ("self.a.astype(np.float32)", BACK, "forward", "gives float32 for an input of float64"),
        ("self.a.astype(str)", BACK, "forward", "forward gives values of type <U.*, expected real numbers"),
        ("self.a", "delta *= 1 - self.a ** 2; return delta", "backward", "backward changes δ or the input in place"),
        ("self.a", "pass", "backward", "backward gives None, expected an array"),
        ("self.a", "return delta * 1j", "backward", "values of type complex128, expected real numbers"),
        ("self.a", "raise SystemExit(0)", "backward", "SystemExit: 0"),
        ("self.a", "raise ValueError('x' * 999)", "backward", "^ValueError: x{148}…$"),
        ("self.a", "self.grads = [delta]; return delta", "backward", "grads is a list, expected a dict"),
    ],
)
def test_what_no_layer_may_do_is_said_in_words(tmp_path, forward, backward, parameter, told):
    report = gradcheck([f"{write(tmp_path, TANH.format(forward, backward))}:A"])
    assert not report.passed
    assert {(check.verdict, check.parameter) for check in report.checks} == {("wrong", parameter)}
    assert all(re.search(told, check.note) for check in report.checks)


def test_a_forward_that_fails_while_differences_are_taken_is_wrong_not_a_crash(tmp_path):
    text = (
        "class A:\n    calls = 0\n"
        "    def forward(self, x):\n"
        "        self.calls += 1; self.a = np.tanh(x)\n"
        "        return self.a if self.calls < 9 else 1 / 0\n"
        f"    def backward(self, delta): {BACK}\n"
    )
    report = gradcheck([f"{write(tmp_path, text)}:A"])
    assert "ZeroDivisionError" in {check.note.partition(":")[0] for check in report.checks}
    assert not report.passed


LINEAR = (
    "class Linear:\n"
    "    def __init__(self, i, o, bias=True):\n"
    "        self.weight, self.bias = np.zeros((o, i)), np.zeros(o) if bias else None\n"
    "    def forward(self, x):\n"
    "        self.x = x; z = x @ self.weight.T\n"
    "        return z if self.bias is None else z + self.bias\n"
    "    def backward(self, delta):\n"
    "        self.grads = {}\n"
    "        return delta @ self.weight\n"
)


@pytest.mark.parametrize("grads", ["{}", "{'weight': None, 'bias': None}"])
def test_gradients_that_were_forgotten_are_missed(tmp_path, grads):
    report = gradcheck([f"{write(tmp_path, LINEAR.format(grads))}:Linear"])
    notes = {(check.parameter, check.note) for check in report.checks if check.verdict == "wrong"}
    assert {("weight", "is missing, expected (3, 5)"), ("bias", "is missing, expected (3,)")} <= notes


def test_a_layer_that_cannot_be_copied_is_checked_all_the_same(tmp_path):
    text = "import threading\n" + TANH.format("self.a", "return 2 * delta")
    text += "    def __init__(self): self.lock = threading.Lock()\n"
    report = gradcheck([f"{write(tmp_path, text)}:A"])
    assert report.skipped == []
    assert not report.passed


SCALE = (
    "class Scale:\n"
    "    def __init__(self):\n"
    "        self.grads, self.NAME = {}, np.array([1.5])\n"
    "    def forward(self, x): self.x, self.cached = x, x * 2; return self.NAME * FUNCTION\n"
    "    def backward(self, delta): GRADS; return self.NAME * DERIVATIVE * delta\n"
)


@pytest.mark.parametrize("name", ["weight", "gamma"])
@pytest.mark.parametrize(("function", "derivative"), [("x ** 3", "3 * self.x ** 2"), ("np.tanh(x)", "TANH")])
def test_a_forgotten_gradient_of_a_layer_that_is_no_known_one_is_missed(tmp_path, name, function, derivative):
    text = SCALE.replace("NAME", name).replace("FUNCTION", function)
    text = text.replace("DERIVATIVE", derivative.replace("TANH", "(1 - np.tanh(self.x) ** 2)"))
    forgotten = gradcheck([f"{write(tmp_path, text.replace('GRADS', 'pass'))}:Scale"])
    wrong = {(check.parameter, check.note) for check in forgotten.checks if check.verdict == "wrong"}
    assert wrong == {(name, "is missing, expected (1,)")}
    right = f"self.grads['{name}'] = np.array([(delta * ({function.replace('x', 'self.x')})).sum()])"
    assert gradcheck([f"{write(tmp_path, text.replace('GRADS', right))}:Scale"]).passed


@pytest.mark.parametrize("function", ["x ** 3", "np.maximum(x, 0)"])
def test_a_forgotten_gradient_is_missed_where_a_known_layer_has_none(tmp_path, function):
    """With a weight of 1 the forward is a known layer's, which has no parameters."""
    derivative = "3 * self.x ** 2" if "3" in function else "(self.x > 0)"
    text = SCALE.replace("NAME", "weight").replace("FUNCTION", function).replace("DERIVATIVE", derivative)
    report = gradcheck([f"{write(tmp_path, text.replace('1.5', '1.0').replace('GRADS', 'pass'))}:Scale"])
    assert {check.parameter for check in report.checks if check.verdict == "wrong"} == {"weight"}


def test_an_array_with_a_private_name_is_no_parameter(tmp_path):
    text = SCALE.replace("NAME", "_weight").replace("FUNCTION", "x ** 3").replace("DERIVATIVE", "3 * self.x ** 2")
    assert gradcheck([f"{write(tmp_path, text.replace('GRADS', 'pass'))}:Scale"]).passed


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("1.5", "grads has 'w', but w is a float"),
        ("[np.array([1.5])]", "grads has 'w', but w is a list"),
        ("np.array([2])", "grads has 'w', but w is an array of int64"),
    ],
)
def test_a_gradient_that_cannot_be_checked_does_not_pass(tmp_path, made, told):
    text = SCALE.replace("np.array([1.5])", made).replace("NAME", "w").replace("self.w *", "np.sum(self.w) *")
    text = text.replace("FUNCTION", "x ** 3").replace("DERIVATIVE", "3 * self.x ** 2")
    text = text.replace("GRADS", "self.grads = {'w': np.array([9.0])}")
    report = gradcheck([f"{write(tmp_path, text)}:Scale"])
    assert not report.passed
    assert all(told in check.note for check in report.checks)


def test_a_gradient_of_nothing_does_not_pass(tmp_path):
    text = SCALE.replace("NAME", "_w").replace("FUNCTION", "x ** 3").replace("DERIVATIVE", "3 * self.x ** 2")
    text = text.replace("GRADS", "self.grads = {'w': np.array([9.0])}")
    report = gradcheck([f"{write(tmp_path, text)}:Scale"])
    assert {check.note for check in report.checks} == {
        "grads has 'w', but the layer has nothing of that name; a parameter is an array of floats"
    }


@pytest.mark.parametrize("place", ["w = np.array([1.5])", "__slots__ = ('grads', 'w', 'x', 'cached')"])
def test_a_parameter_of_the_class_or_in_a_slot_is_not_forgotten(tmp_path, place):
    text = SCALE.replace("NAME", "w").replace("FUNCTION", "x ** 3").replace("DERIVATIVE", "3 * self.x ** 2")
    if "slots" not in place:
        text = text.replace("self.grads, self.w = {}, np.array([1.5])", "self.grads = {}")
    text = text.replace("class Scale:\n", f"class Scale:\n    {place}\n").replace("GRADS", "pass")
    report = gradcheck([f"{write(tmp_path, text)}:Scale"])
    wrong = {(check.parameter, check.note) for check in report.checks if check.verdict == "wrong"}
    assert wrong == {("w", "is missing, expected (1,)")}


@pytest.mark.parametrize(
    "line",
    ["def train(self, data, labels): pass\n    def eval(self, data): pass", "weight = property(lambda self: 1 / 0)"],
)
def test_a_class_that_is_no_layer_in_all_it_has_is_checked_all_the_same(tmp_path, line):
    text = TANH.format("np.tanh(x)", BACK).replace("class A:", f"class A:\n    {line}")
    report = gradcheck([f"{write(tmp_path, text)}:A"])
    assert report.checks
