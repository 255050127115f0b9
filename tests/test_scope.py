"""The rule of the allow and deny lists, against its sentence: the most specific listed id decides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragd.scope import Scope

ID = st.integers(1, 12)
PATH = st.lists(st.one_of(st.none(), ID), max_size=4).map(tuple)


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    allow = draw(st.frozensets(ID, max_size=5))
    return Scope(allow, draw(st.frozensets(ID, max_size=5)) - allow)


@given(scopes(), PATH)
def test_the_most_specific_listed_id_decides(scope: Scope, path: tuple[int | None, ...]) -> None:
    listed = [place for place in path if place in scope.allow | scope.deny]
    if listed:
        assert scope.includes(path) is (listed[0] in scope.allow)
        assert scope.includes(path, imported=True) is (listed[0] in scope.allow)
    else:
        assert scope.includes(path) is (not scope.allow)
        assert scope.includes(path, imported=True)


@given(scopes(), PATH, PATH)
def test_what_is_more_general_never_overrules(
    scope: Scope, path: tuple[int | None, ...], above: tuple[int | None, ...]
) -> None:
    verdict = scope.verdict(path)
    if verdict is not None:
        assert scope.verdict((*path, *above)) is verdict


@given(PATH)
def test_without_lists_everything_is_captured(path: tuple[int | None, ...]) -> None:
    assert Scope().includes(path)


def test_in_words() -> None:
    thread, channel, category, guild = 4, 3, 2, 1
    path = (thread, channel, category, guild)
    assert not Scope(deny=frozenset({category})).includes(path)
    assert Scope(allow=frozenset({channel}), deny=frozenset({category})).includes(path)
    assert Scope(allow=frozenset({thread}), deny=frozenset({channel, guild})).includes(path)
    assert not Scope(allow=frozenset({99})).includes(path)
    assert not Scope(allow=frozenset({guild}), deny=frozenset({channel})).includes(path)
