"""`--profile`: the phases add up, on both engines; nothing is measured when it is off."""

import time

import pytest

from cnnlab.training import profiling
from cnnlab.training.profiling import OFF, PHASES, Profile

ALONE = [name for name in PHASES if name != "all-reduce"]
"""What a run of one process does."""


def by_name(document):
    return {phase["name"]: phase for phase in document["phases"]}


def test_a_phase_within_another_interrupts_it():
    profile = Profile(lambda: None)
    with profile.phase("saving"):
        time.sleep(0.02)
        with profile.phase("progress"):
            time.sleep(0.06)
        time.sleep(0.02)
    assert 0.04 <= profile.seconds["saving"] < 0.06 <= profile.seconds["progress"] < 0.1


def test_a_phase_that_ends_with_an_error_is_counted():
    profile = Profile(lambda: None)

    def fail():
        with profile.phase("progress"):
            time.sleep(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert profile.seconds["progress"] >= 0.01
    with profile.phase("data"):
        pass
    assert profile.seconds["progress"] < 0.05


def test_each_phase_waits_for_the_device():
    waits = []
    with Profile(lambda: waits.append(None)).phase("forward"):
        assert len(waits) == 1
    assert len(waits) == 2


def test_off_reads_no_clock(monkeypatch):
    monkeypatch.setattr(profiling.time, "perf_counter", lambda: pytest.fail("the clock was read"))
    with OFF.phase("data"), OFF.phase("forward"):
        pass
    assert not any(OFF.seconds.values())


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_the_phases_of_a_run_add_up(train_digits, engine):
    profile = train_digits("mlp:depth=1,width=8", engine=engine, profile=True, gradients=True).result["profile"]
    phases = by_name(profile)
    assert set(phases) == {*ALONE, "other"}
    assert profile["steps"] == 2 * (1294 // 64)
    assert sum(phase["seconds"] for phase in phases.values()) == pytest.approx(profile["seconds"], abs=0.01)
    assert sum(phase["share"] for phase in phases.values()) == pytest.approx(1, abs=0.001)
    # The cheap ones of so small a net may round to nothing.
    assert all(phase["seconds"] >= 0 for phase in phases.values())
    assert all(phases[name]["seconds"] > 0 for name in ("forward", "backward", "evaluation", "saving"))
    forward = phases["forward"]
    assert forward["ms_per_step"] == pytest.approx(1e3 * forward["seconds"] / profile["steps"], rel=0.01, abs=0.01)


def test_slow_saving_is_seen_as_saving(train_digits, monkeypatch):
    from cnnlab.training.saving import Saver

    whole = Saver.epoch
    monkeypatch.setattr(Saver, "epoch", lambda self, progress: (time.sleep(0.3), whole(self, progress))[1])
    phases = by_name(train_digits("mlp:depth=1,width=8", profile=True).result["profile"])
    assert phases["saving"]["seconds"] >= 0.6
    assert phases["data"]["seconds"] < 0.6


def test_without_it_the_result_has_no_profile(train_digits):
    assert "profile" not in train_digits("mlp:depth=1,width=8", epochs=1).result


def test_the_command_shows_the_profile_and_gives_it_as_json(cli):
    arguments = ["train", "--arch", "mlp:depth=1,width=8", "--data", "digits", "--epochs", 1, "--profile",
                 "--set", "train.min_steps=0"]  # fmt: skip
    ended = cli(*arguments)
    assert ended.code == 0
    lines = ended.out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("where the time went"))
    names = [line.split()[0] for line in lines[start + 1 :] if line.strip()]
    assert names == [name for name in (*ALONE, "other", "all") if name != "gradients"]
    document = cli(*arguments, "--json").json
    assert set(by_name(document["profile"])) == {*ALONE, "other"} - {"gradients"}
