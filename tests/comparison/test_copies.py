"""Trained copies of one recipe: in at least 17 of 20 tries nobody is called better."""

import pytest

import cnnlab

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("net", "options"),
    [
        ("mlp:depth=1,width=32", {"epochs": 15}),
        ("mlp:depth=1,width=64", {"epochs": 10, "set": ("optim.schedule=constant", "train.ema=0")}),
        ("cnn:width=4", {"epochs": 6}),
    ],
)
def test_two_copies_with_different_seeds_are_no_different(own_world, monkeypatch, net, options):
    from cnnlab.comparison import page, pictures
    from cnnlab.report import figures

    monkeypatch.setattr(page, "write_page", lambda comparison: None)
    monkeypatch.setattr(pictures, "draw_pictures", lambda comparison: [])
    monkeypatch.setattr(figures, "draw_curves", lambda *_, **options: None)
    tests = [
        cnnlab.compare(f"a={net}", f"b={net},seed={1000 + seed}", data="digits", seed=seed, **options).tests[0]
        for seed in range(20)
    ]
    assert any(test.only_a or test.only_b for test in tests)
    assert sum(test.better is None and "no difference" in test.verdict for test in tests) >= 17
