"""Two rankings to one, by hand."""

from __future__ import annotations

from ragd.fusion import Fusion, K, best_message


def test_what_both_rankings_have_comes_first() -> None:
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11], 0.6)
    fusion.add_by_meaning(2, [20, 21], 0.5)
    fusion.add_by_words(3, [30], 30, 9.0, None)
    fusion.add_by_words(2, [20, 21], 21, 5.0, 0.5)
    ranked = fusion.ranked(1.0)
    assert [one.place for one in ranked] == [2, 1, 3]
    assert ranked[0].score(1.0) == 1 / (K + 2) + 1 / (K + 2)
    assert ranked[0].hits == {21: 5.0}


def test_chunks_that_show_the_same_are_one_passage_and_take_one_rank() -> None:
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11, 12], 0.6)
    fusion.add_by_meaning(2, [11, 12], 0.59)
    fusion.add_by_meaning(3, [20], 0.5)
    assert [(one.place, one.meaning_rank) for one in fusion.ranked(1.0)] == [(1, 1), (3, 2)]


def test_a_word_hit_is_shown_in_the_best_passage_that_has_it() -> None:
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11], 0.6)
    fusion.add_by_words(7, [11, 12], 11, 3.0, 0.2)
    fusion.add_by_words(7, [10], 10, 2.0, 0.2)
    (only,) = fusion.ranked(1.0)
    assert (only.place, only.word_rank, only.hits) == (1, 1, {11: 3.0, 10: 2.0})
    assert best_message(only, {10: 1.0, 11: 0.0}) == 11


def test_what_words_added_and_overlaps_is_shown_once() -> None:
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11, 12], 0.6)
    fusion.add_by_words(2, [11, 12, 13], 13, 3.0, 0.1)
    assert len(fusion.ranked(1.0)) == 1


def test_what_a_chunk_has_become_is_shown_in_its_place() -> None:
    """The index still has the old one, and words find what is new in it."""
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11, 12], 0.6)
    fusion.add_by_words(2, [10, 11, 12, 13], 13, 3.0, 0.1)
    (only,) = fusion.ranked(1.0)
    assert (only.place, only.ids, only.hits) == (2, (10, 11, 12, 13), {13: 3.0})
    assert (only.meaning_rank, only.word_rank) == (1, 1)


def test_without_word_hits_the_message_with_most_of_the_question_is_best() -> None:
    fusion = Fusion()
    fusion.add_by_meaning(1, [10, 11, 12], 0.6)
    (only,) = fusion.ranked(1.0)
    assert best_message(only, {10: 0.1, 11: 0.4, 12: 0.4}) == 11
