"""`cnnlab gradcheck`: exit codes, the JSON document, what the terminal shows."""

import pytest

from cnnlab.gradient_check.bugs import BUGS

CHECK_KEYS = {"layer", "case", "parameter", "max_rel_error_fd", "max_rel_error_autograd", "worst_index", "verdict"}
WRONG = """
import numpy as np

class Tanh:
    def forward(self, x):
        return np.tanh(x)

    def backward(self, delta):
        return delta
"""


def test_all_layers_pass(cli):
    ended = cli("gradcheck", "--json", "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    document = ended.json
    assert document["passed"] is True
    assert document["bugs"] == []
    assert all(check.keys() >= CHECK_KEYS for check in document["checks"])
    assert {check["verdict"] for check in document["checks"]} == {"ok", "kink"}


def test_named_layers_on_the_terminal(cli):
    ended = cli("gradcheck", "Linear", "maxpool2d", "--seed", "3")
    assert ended.code == 0
    assert "Linear" in ended.out
    assert "MaxPool2d" in ended.out
    assert "Conv2d" not in ended.out
    assert "checks passed" in ended.out
    assert all(len(line) <= 100 for line in ended.out.splitlines())


def test_verbose_shows_every_case(cli):
    assert "window larger than stride" in cli("gradcheck", "AvgPool2d", "-v").out


def test_quiet_says_nothing_when_all_is_right(cli):
    ended = cli("gradcheck", "ReLU", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_explain_shows_formulas_numbers_and_place(cli):
    ended = cli("gradcheck", "Conv2d", "--explain")
    assert ended.code == 0
    for part in ("scalar form", "vector form", "rot180", "= 6", "conv.py:", "checks passed"):
        assert part in ended.out
    explanation = cli("gradcheck", "Conv2d", "--explain", "--json").json["explanations"][0]
    assert explanation["results"]["z = x ⋆ w"] == [[-4, 7], [3, 5]]


def test_a_planted_bug_is_caught(cli):
    ended = cli("gradcheck", "--inject-bug", "conv-unflipped-kernel", "--json")
    assert ended.code == 5
    document = ended.json
    assert document["passed"] is False
    assert document["error"]["code"] == 5
    (bug,) = document["bugs"]
    assert bug["name"] == "conv-unflipped-kernel"
    assert bug["layer"] == "Conv2d"
    assert bug["caught"] is True
    assert bug["caught_by"]
    assert {check["parameter"] for check in document["checks"] if check["verdict"] == "wrong"} == {"input"}


def test_all_planted_bugs_are_caught(cli):
    ended = cli("gradcheck", "--inject-bug", "all")
    assert ended.code == 5
    for name in BUGS:
        assert name in ended.out
    assert "not caught" not in ended.out
    assert f"{len(BUGS)} planted, all caught: exit code 5" in ended.out
    assert ended.err == ""


def test_what_is_explained_is_what_was_meant(cli, own_world):
    (own_world / "mine.py").write_text(WRONG, encoding="utf-8")
    planted = cli("gradcheck", "--inject-bug", "relu-sign", "--explain", "--json")
    assert [one["layer"] for one in planted.json["explanations"]] == ["ReLU"]
    for arguments in (("mine.py:Tanh",), ("--arch", "mlp:depth=1,width=3")):
        ended = cli("gradcheck", *arguments, "--explain", "--json")
        assert ended.json["explanations"] == []
        assert "--explain is for cnnlab's own layers" in ended.err


def test_a_bug_that_passes_is_a_bug_in_cnnlab(cli, monkeypatch):
    from cnnlab.gradient_check import planting
    from cnnlab.gradient_check.bugs import Bug

    harmless = Bug("harmless", "ReLU", "changes nothing", lambda layer, x, delta, right: {})
    monkeypatch.setitem(planting.BUGS, "harmless", harmless)
    ended = cli("gradcheck", "--inject-bug", "harmless")
    assert ended.code == 1
    assert "harmless" in ended.err


def test_a_wrong_gradient_exits_5_and_names_the_mistake(cli, own_world):
    (own_world / "mine.py").write_text(WRONG, encoding="utf-8")
    ended = cli("gradcheck", "mine.py:Tanh")
    assert ended.code == 5
    assert "tanh-missing-derivative" in ended.err
    assert "Traceback" not in ended.err
    document = cli("gradcheck", "mine.py:Tanh", "--json").json
    assert document["matches"][0]["bug"] == "tanh-missing-derivative"
    assert "error" in document


def test_wrong_cases_fit_80_columns(cli, own_world, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (own_world / "mine.py").write_text(WRONG, encoding="utf-8")
    lines = cli("gradcheck", "mine.py:Tanh").out.partition("\nwrong")[2].splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if "e-01" in line or "e+00" in line]
    assert len(rows) == 4
    assert all(line.rstrip().endswith("]") for line in rows)
    assert sum("Tanh" in line for line in rows) == 1


def test_a_long_name_takes_no_figure_away(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arch = "mlp:depth=1,width=3,activation=tanh,batch_norm=false,dropout=0"
    whole = cli("gradcheck", "--arch", arch, "--json").json["checks"]
    lines = cli("gradcheck", "--arch", arch).out.splitlines()
    assert max(map(len, lines)) <= 80
    for check in whole:
        (row,) = (line for line in lines if check["parameter"] in line.split())
        errors = (check["max_rel_error_fd"], check["max_rel_error_autograd"])
        assert row.split()[-3:] == [*(f"{error:.1e}" for error in errors), "ok"]


def test_what_a_users_layer_prints_is_not_in_the_document(cli, own_world):
    text = WRONG.replace("return np.tanh(x)", "print('hello'); return np.tanh(x)")
    (own_world / "mine.py").write_text("print('loaded')\n" + text, encoding="utf-8")
    ended = cli("gradcheck", "mine.py:Tanh", "--json")
    assert ended.json["passed"] is False
    assert "hello" in ended.err
    assert "loaded" in ended.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("Conv3d",), 2, "Conv2d"),
        (("--inject-bug", "relu"), 2, "relu-sign"),
        (("--inject-bug", "?"), 2, "Valid: all, "),
        (("--seed", "-1"), 2, "seed"),
        (("missing.py:Layer",), 2, "no such file"),
        (("missing.py",), 2, "Write FILE.py:Class"),
        (("linear:in_features=3",), 2, "write the name alone: Linear"),
        (("--arch", "resnett"), 2, "resnet"),
        (("--arch", "torchvision:resnet18"), 2, "the numpy engine has no"),
    ],
)
def test_wrong_usage(cli, arguments, code, told):
    ended = cli("gradcheck", *arguments)
    assert ended.code == code
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_file_that_fails_is_bad_data(cli, own_world):
    (own_world / "mine.py").write_text("raise OSError('\x1b[31mred')", encoding="utf-8")
    ended = cli("gradcheck", "mine.py:Layer")
    assert ended.code == 3
    assert "\x1b" not in ended.err


def test_a_whole_net(cli):
    ended = cli("gradcheck", "--arch", "mlp:width=8,depth=2")
    assert ended.code == 0
    assert "fc3.weight" in ended.out
    assert "Conv2d" not in ended.out


def test_output_survives_an_ascii_terminal(cli_process):
    ended = cli_process("gradcheck", "Tanh", "--explain", PYTHONIOENCODING="ascii")
    assert ended.code == 0
    assert "Tanh" in ended.out


def test_a_recipe_that_names_a_python_file_is_checked_only_when_trusted(cli, own_world):
    (own_world / "net.py").write_text(
        "from torch import nn\n"
        "class Sequential(nn.Sequential):\n"
        "    def __init__(self, in_channels, num_classes, image_size):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))\n"
    )
    (own_world / "rec.yaml").write_text("model:\n  arch: net.py:Sequential\n")
    refused = cli("gradcheck", "--arch", "rec.yaml")
    assert (refused.code, "--trust-code" in refused.err) == (2, True)
    trusted = cli("gradcheck", "--arch", "rec.yaml", "--trust-code")
    assert (trusted.code, "1.weight" in trusted.out) == (0, True)
