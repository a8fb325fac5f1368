"""The fuzz targets, briefly: seeds, changed seeds and any bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_takes_any_bytes(name):
    target = TARGETS[name]

    @given(st.binary(max_size=200))
    def anything(data):
        target.run(data)

    anything()


@pytest.mark.parametrize("name", TARGETS)
def test_takes_changed_seeds(name):
    target = TARGETS[name]
    chance = random.Random(f"seed of {name}")
    for seed in target.seeds:
        target.run(seed)
        for _ in range(300):
            target.run(mutated(seed, chance))
