"""Learning rates and image sizes by step."""

import pytest

from cnnlab.recipe.schema import OptimSection, TrainSection
from cnnlab.training.schedule import Growth, learning_rate, lookahead_decay, lowest_rate, rests


def rates(steps=100, per_epoch=10, **options):
    optim = OptimSection(lr=1.0, **options)
    return [learning_rate(optim, step, steps, per_epoch) for step in range(steps)]


def test_constant():
    assert set(rates(schedule="constant")) == {1.0}


def test_step_drops_to_a_tenth_after_half_and_three_quarters():
    values = rates(schedule="step")
    assert (values[49], values[50], values[75]) == (1.0, pytest.approx(0.1), pytest.approx(0.01))


def test_cosine_equals_torch():
    import torch

    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for value in rates(schedule="cosine"):
        assert value == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_one_cycle_rises_for_30_percent_and_falls_to_nothing():
    values = rates(schedule="one-cycle")
    assert values[0] == pytest.approx(1 / 25)
    assert values.index(max(values)) == 30
    assert max(values) == 1.0
    assert values[-1] < 0.001


def test_linear_falls_straight_to_nothing():
    values = rates(schedule="linear")
    assert values[0] == 1.0
    assert [values[step] - values[step + 1] for step in range(99)] == pytest.approx([0.01] * 99)
    assert rates(schedule="linear", warmup=2.0)[19:60:20] == pytest.approx([1.0, 61 / 80, 41 / 80])


def test_warmup_rises_linearly():
    values = rates(schedule="constant", warmup=2.0)
    assert values[:3] == pytest.approx([1 / 20, 2 / 20, 3 / 20])
    assert values[20] == 1.0
    assert rates(schedule="one-cycle", warmup=1.0).index(1.0) == 10


def test_triangle_rises_from_a_fifth_and_falls_to_seven_hundredths():
    values = rates(schedule="triangle")
    assert values[0] == pytest.approx(0.2)
    assert max(values) == values[23] == pytest.approx(1.0)
    assert values[99] == pytest.approx(0.07 + 0.93 / 77)
    rise, fall = values[1] - values[0], values[50] - values[51]
    assert values[10] == pytest.approx(0.2 + 10 * rise)
    assert values[90] == pytest.approx(1.0 - 67 * fall)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "one-cycle", "triangle"])
def test_layers_that_freeze_have_the_whole_schedule_before(schedule):
    optim = OptimSection(lr=1.0, schedule=schedule)
    train = TrainSection(freeze_up_to="conv1", freeze_from=0.333)
    values = [lowest_rate(train, optim, step, 150, 10) for step in range(150)]
    assert values[:50] == rates(50, schedule=schedule)
    assert values[50:] == [0.0] * 100
    assert lowest_rate(TrainSection(), optim, 0, 150, 10) is None


def test_the_slow_average_keeps_more_and_more_and_all_in_the_end():
    decays = [lookahead_decay(5, done, 98) for done in range(1, 99)]
    assert [done for done, decay in enumerate(decays, 1) if decay is not None] == [*range(5, 99, 5), 98]
    assert decays[49] == pytest.approx(0.95**5 * (50 / 98) ** 3)
    assert decays[97] == 1.0
    assert lookahead_decay(0, 98, 98) is None


def test_images_grow_by_eighths_in_equal_times_and_are_full_in_the_end():
    growth = Growth.of(TrainSection(initial_scale=0.625, full_scale_from=0.75))
    sizes = [growth.size((32, 48), step / 100) for step in range(100)]
    assert sizes == [(20, 30)] * 25 + [(24, 36)] * 25 + [(28, 42)] * 25 + [None] * 25
    assert growth.sizes((32, 48)) == [(20, 30), (24, 36), (28, 42)]
    between = Growth(0.7, 0.9)
    assert [between.scale(done) for done in (0.0, 0.31, 0.61, 0.91)] == pytest.approx([0.7, 0.825, 0.95, 1.0])


def test_images_are_full_from_the_start_unless_asked_for_otherwise():
    growth = Growth.of(TrainSection())
    assert {growth.size((32, 32), step / 10) for step in range(10)} == {None}
    assert growth.sizes((32, 32)) == []
    assert [growth.work(done) for done in (0.0, 0.25, 1.0)] == pytest.approx([0.0, 0.25, 1.0])


def test_no_side_shrinks_below_16_pixels():
    train = TrainSection(initial_scale=0.25, full_scale_from=0.6)
    growth = Growth.of(train, (28, 42))
    assert growth.sizes((28, 42)) == [(16, 24), (20, 29), (23, 34), (26, 40)]
    assert growth.size((28, 42), 0.0) == growth.size((28, 42), 0.14) == (16, 24)
    assert Growth.of(train, (16, 20)).initial == Growth.of(train, (8, 8)).initial == 1.0
    assert Growth.of(train, (64, 96)).initial == Growth.of(train).initial == 0.25


def test_work_goes_with_the_pixels():
    growth = Growth(0.625, 0.75)
    steps = 100_000
    pixels = [growth.scale(step / steps) ** 2 for step in range(steps)]
    for done in (0.1, 0.25, 0.6, 0.8, 1.0):
        assert growth.work(done) == pytest.approx(sum(pixels[: round(done * steps)]) / sum(pixels), abs=1e-4)
    assert sum(growth.epoch(epoch, 7) for epoch in range(1, 8)) == pytest.approx(1.0)
    assert growth.epoch(1, 4) == pytest.approx(0.25 * 0.625**2 / (0.25 * (0.625**2 + 0.75**2 + 0.875**2 + 1)))


def test_layers_rest_in_every_second_step_of_the_first_part():
    train = TrainSection(rest_up_to="conv1", rest_until=0.55)
    assert [step for step in range(10) if rests(train, step, 10)] == [1, 3, 5]
    assert not any(rests(TrainSection(rest_until=1.0), step, 10) for step in range(10))
