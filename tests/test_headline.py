from __future__ import annotations

import pytest

from pipelines.headline import headline


@pytest.mark.parametrize(
    ("numbers", "state", "sentence"),
    [
        ((4, 2000, 0, 0, 0), "fine", "All 2,000 records are in the warehouse."),
        ((1, 1, 0, 0, 0), "fine", "The one record is in the warehouse."),
        ((1, 0, 0, 0, 0), "fine", "The drops are in; there was no record in them."),
        ((0, 0, 0, 0, 0), "fine", "No drop is in the warehouse."),
        ((4, 2000, 80, 73, 0), "refused", "1,920 of 2,000 records are in the warehouse; 80 were refused, from 73 root causes."),
        ((1, 10, 1, 1, 0), "refused", "9 of 10 records are in the warehouse; 1 was refused."),
        ((0, 0, 0, 0, 1), "held", "1 drop is held: nothing of it is in the warehouse until somebody looks at it."),
        (
            (1, 3, 2, 1, 2),
            "held",
            "2 drops are held: nothing of them is in the warehouse until somebody looks at them. "
            "1 of 3 records is in the warehouse; 2 were refused, from 1 root cause.",
        ),
    ],
)
def test_one_sentence_and_one_colour_say_how_the_night_went(numbers: tuple[int, ...], state: str, sentence: str) -> None:
    drops, records, rejected, roots, held = numbers
    told = headline(drops=drops, records=records, rejected=rejected, roots=roots, held=held)
    assert (told.state, told.sentence) == (state, sentence)


@pytest.mark.parametrize(
    ("numbers", "state", "sentence"),
    [
        ((0, 0, 0, 0, 0, 1), "missing", "1 expected drop did not come."),
        ((1, 2, 1, 1, 0, 2), "missing", "2 expected drops did not come. 1 of 2 records is in the warehouse; 1 was refused."),
        (
            (0, 0, 0, 0, 1, 1),
            "held",
            "1 drop is held: nothing of it is in the warehouse until somebody looks at it. 1 expected drop did not come.",
        ),
    ],
)
def test_a_missing_drop_is_graver_than_refused_records_and_stands_after_a_held_one(numbers, state, sentence) -> None:
    drops, records, rejected, roots, held, missing = numbers
    told = headline(drops=drops, records=records, rejected=rejected, roots=roots, held=held, missing=missing)
    assert (told.state, told.sentence) == (state, sentence)
