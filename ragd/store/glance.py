"""A second look at a few messages: how much of what is asked each of them has, by the same tokenizer as the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from ragd.store.lookup import Term
from ragd.store.words import WORD_TOKENIZER


class Glance:
    """A table in memory that holds the texts of one answer at a time. One thread.

    To ask the index itself which of a hundred messages have a term costs a walk a message.
    """

    def __init__(self) -> None:
        self._memory = apsw.Connection(":memory:")
        self._memory.execute(
            "CREATE VIRTUAL TABLE glance USING fts5"
            f" (text, marks, content='', contentless_delete=1, tokenize='{WORD_TOKENIZER}')"
        )

    def shares(self, texts: Mapping[int, str], terms: Sequence[Term], weights: Sequence[float]) -> dict[int, float]:
        """By message, the weight of the terms it has as a share of the weight of all."""
        whole = sum(weights)
        found = dict.fromkeys(texts, 0.0)
        with self._memory:
            self._memory.execute("INSERT INTO glance (glance) VALUES ('delete-all')")
            self._memory.executemany("INSERT INTO glance (rowid, text, marks) VALUES (?, ?, '')", texts.items())
        for term, weight in zip(terms, weights, strict=True):
            for message_id in self._with(term, texts):
                found[message_id] += weight / whole
        return found

    def _with(self, term: Term, texts: Mapping[int, str]) -> set[int]:
        having: set[int] = set()
        if term.match.words:
            rows = self._memory.execute("SELECT rowid FROM glance WHERE glance MATCH ?", (term.match.words,))
            having = {int(str(row[0])) for row in rows}
        if term.match.fragments:
            wanted = term.text.casefold()
            having |= {message_id for message_id, text in texts.items() if wanted in text.casefold()}
        return having
