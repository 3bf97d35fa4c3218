"""Splits: stratified, seeded, complete, without overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from cnnlab.data import Part, sample, split
from cnnlab.data.splitting import set_aside, stratified
from cnnlab.errors import DataError


def numbered(labels):
    """A part whose single pixel is its own number, so that a picture can be followed."""
    labels = np.asarray(labels, np.int64)
    return Part(
        np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels, [f"n{i}" for i in range(len(labels))]
    )


def numbers(part):
    return part.images.ravel().tolist()


def test_split_is_complete_ordered_and_carries_names_and_labels():
    part = numbered([0, 1] * 50)
    train, val = split(part, 0.2, seed=3)
    assert sorted(numbers(train) + numbers(val)) == list(range(100))
    assert numbers(train) == sorted(numbers(train))
    assert len(val) == 20
    assert np.bincount(val.labels).tolist() == [10, 10]
    assert val.names == [f"n{number}" for number in numbers(val)]
    assert val.labels.tolist() == [number % 2 for number in numbers(val)]


def test_seed_decides():
    part = numbered([0, 1] * 50)
    assert numbers(split(part, 0.2, 1)[1]) == numbers(split(part, 0.2, 1)[1])
    assert numbers(split(part, 0.2, 1)[1]) != numbers(split(part, 0.2, 2)[1])


def test_zero_fraction_gives_an_empty_part():
    part = numbered([0, 1, 1])
    train, val = split(part, 0, 0)
    assert (len(train), len(val)) == (3, 0)
    assert val.images.shape == (0, 1, 1, 1)


def test_a_class_with_one_picture_stays_in_train():
    train, val = split(numbered([0] * 30 + [1]), 0.5, 0)
    assert 1 in train.labels
    assert 1 not in val.labels
    assert len(val) == 16  # the other class makes up for it


def test_single_pictures_only_are_refused():
    with pytest.raises(DataError, match="no class has two of the 3 pictures") as caught:
        split(numbered([0, 1, 2]), 0.1, 0)
    assert "val_fraction=0" in caught.value.hint


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=200),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 1000),
)
def test_shares_are_proportional(labels, share, keep_one, seed):
    labels = np.array(labels)
    wanted = round(share * len(labels))
    chosen = stratified(labels, wanted, np.random.default_rng(seed), keep_one=keep_one)
    names, counts = np.unique(labels, return_counts=True)
    room = int((counts - keep_one).sum())
    assert chosen.sum() == min(wanted, room)
    for name, count in zip(names, counts, strict=True):
        of_class = chosen[labels == name].sum()
        if keep_one:
            assert of_class < count
        else:
            assert abs(of_class - count * wanted / len(labels)) < 1


def test_shares_equal_scikit_learns():
    labels = np.random.default_rng(0).choice(5, 997, p=[0.4, 0.3, 0.2, 0.07, 0.03])
    _, test = set_aside(Part(np.zeros((997, 1, 1, 1), np.uint8), labels))
    _, theirs = train_test_split(labels, test_size=0.2, stratify=labels, random_state=0)
    assert np.bincount(test.labels).tolist() == np.bincount(theirs).tolist()


def test_sample_is_stratified_fixed_and_no_larger_than_the_part():
    part = numbered([0] * 60 + [1] * 30 + [2] * 10)
    chosen = sample(part, 20, seed=0)
    assert np.bincount(chosen.labels).tolist() == [12, 6, 2]
    assert numbers(chosen) == numbers(sample(part, 20, seed=0))
    assert len(sample(part, 1000, seed=0)) == 100
