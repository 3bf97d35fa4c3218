"""Batches: every picture is a crop of its reflect-padded self, half of them mirrored; nothing else changes."""

import numpy as np
import pytest

from cnnlab.data import Augmentation, draw, in_turns, mixup, pick


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (50, 10, 12, 3), dtype=np.uint8)


def batch(images, indices, augmentation, rng, fill=128):
    return pick(images, draw(images.shape[1:3], indices, augmentation, rng), augmentation.cutout, fill)


def crops_of(image, pad, *, flip):
    """Every picture that crop (and flip) may make, by NumPy's own reflect padding."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    crops = [padded[y : y + height, x : x + width] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
    return crops + [crop[:, ::-1] for crop in crops] if flip else crops


def test_nothing_asked_picks_the_pictures(images):
    indices = np.array([3, 3, 0])
    assert (batch(images, indices, Augmentation(), np.random.default_rng(0)) == images[indices]).all()


@pytest.mark.parametrize(("pad", "flip"), [(2, False), (3, True), (0, True), (11, False)])
def test_each_picture_is_one_of_its_possible_crops(images, pad, flip):
    indices = np.arange(50)
    out = batch(images, indices, Augmentation(crop=pad, flip=flip), np.random.default_rng(1))
    assert out.shape == images.shape
    assert out.dtype == np.uint8
    for image, made in zip(images[:10] if pad > 5 else images, out, strict=False):
        if pad <= 9:  # NumPy pads by reflection once
            assert any((made == crop).all() for crop in crops_of(image, pad, flip=flip))
        assert set(np.unique(made)) <= set(np.unique(image))


def test_every_shift_and_both_directions_come_up():
    image = np.arange(25, dtype=np.uint8).reshape(1, 5, 5, 1)
    out = batch(image, np.zeros(2000, np.int64), Augmentation(crop=1, flip=True), np.random.default_rng(0))
    kinds, counts = np.unique(out.reshape(2000, -1), axis=0, return_counts=True)
    assert len(kinds) == 18  # 3 × 3 shifts, mirrored or not
    assert counts.min() > 60  # expected 111 each


def test_the_generator_alone_decides(images):
    augmentation = Augmentation(crop=2, flip=True, cutout=4)
    before = images.copy()
    first, second, other = (batch(images, np.arange(20), augmentation, np.random.default_rng(s)) for s in (5, 5, 6))
    assert (first == second).all()
    assert (first != other).any()
    assert (images == before).all()


def test_cutout_paints_one_square_with_the_fill():
    images = np.full((200, 9, 9, 3), 7, np.uint8)
    fill = np.array([200, 201, 202], np.uint8)
    out = batch(images, np.arange(200), Augmentation(cutout=4), np.random.default_rng(0), fill=fill)
    areas = set()
    for made in out:
        painted = (made == fill).all(axis=2)
        rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
        assert painted.sum() == len(rows) * len(columns)  # one rectangle without holes
        assert (made[~painted] == 7).all()
        areas.add(int(painted.sum()))
    assert max(areas) == 16
    assert min(areas) >= 4  # a corner: the centre lies inside


def test_pictures_of_one_pixel_survive():
    images = np.array([5, 6], np.uint8).reshape(2, 1, 1, 1)
    assert batch(images, np.arange(2), Augmentation(crop=4, flip=True), np.random.default_rng(0)).ravel().tolist() == [
        5,
        6,
    ]


def test_two_epochs_of_turns_show_every_picture_both_ways():
    turns = [in_turns(1000, epoch, np.random.default_rng(3)) for epoch in (1, 2, 3)]
    assert (turns[0] ^ turns[1]).all()
    assert (turns[0] == turns[2]).all()
    assert 400 < turns[0].sum() < 600


def test_what_is_mirrored_may_be_given():
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)
    moves = draw((2, 3), np.arange(2), Augmentation(flip=True), np.random.default_rng(0), None, np.array([True, False]))
    out = pick(images, moves)
    assert (out[0] == images[0, :, ::-1]).all()
    assert (out[1] == images[1]).all()


def test_mixup_gives_a_permutation_and_a_share():
    shares = []
    for seed in range(200):
        permutation, share = mixup(16, 0.2, np.random.default_rng(seed))
        assert sorted(permutation.tolist()) == list(range(16))
        shares.append(share)
    assert all(0 <= share <= 1 for share in shares)
    assert np.mean([share < 0.1 or share > 0.9 for share in shares]) > 0.4  # Beta(0.2, 0.2) keeps to the ends
