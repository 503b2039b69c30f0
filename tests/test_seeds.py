"""Random streams: no two of them share their numbers."""

from __future__ import annotations

from search.base.seeds import audit_order, fresh_seed, grid_order, sampler_seed, scrambling, training_seed


def test_every_stream_of_a_study_is_another() -> None:
    seeds = [
        *(sampler_seed(7, number, attempt) for number in range(10) for attempt in range(10)),
        *(training_seed(7, number) for number in range(10)),
        *(fresh_seed(7, index) for index in range(10)),
    ]
    assert len(set(seeds)) == len(seeds)
    assert grid_order(7, 50) != audit_order(7, 50)


def test_what_a_plan_draws_is_no_trials_own() -> None:
    # As plain entropy [7, 2] and [7, 2, 0] are one stream: the grid's order was that of trial 2's sampler.
    first = [int(scrambling(7).integers(2**32)), *(grid_order(7, 2**12)[:1]), *(audit_order(7, 2**12)[:1])]
    assert not set(first) & {f(7, number) for f in (sampler_seed, training_seed) for number in range(100)}


def test_streams_are_the_same_every_time_and_others_for_another_seed() -> None:
    assert sampler_seed(7, 3) == sampler_seed(7, 3) != sampler_seed(8, 3)
    assert grid_order(7, 9) == grid_order(7, 9)
    assert sorted(grid_order(7, 9)) == list(range(9))
