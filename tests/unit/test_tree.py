"""Merging layers: each change is taken once, nothing is overwritten unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pursuit.models import Artifact
from pursuit.tree import covered, fingerprint, listed, merge, read_list, tree_of


def file(path: str, sha: str, job: str = "r1-001", was: str = "") -> Artifact:
    return Artifact(path=path, sha256=sha, size=len(sha), round=1, subtask=job, was=was)


BASE = {"a": file("a", "1"), "b": file("b", "1")}


def test_changes_of_different_files_are_all_taken() -> None:
    layers = {"r1-001": [file("a", "2", was="1")], "r1-002": [file("c", "3", "r1-002"), file("b", "", was="1")]}
    merged = merge(BASE, layers, ())
    assert {path: f.sha256 for path, f in merged.tree.items()} == {"a": "2", "c": "3"}
    assert merged.conflicts == ()
    assert [(f.path, f.sha256) for f in merged.changed] == [("a", "2"), ("c", "3"), ("b", "")]


def test_who_comes_second_with_another_content_is_kept_aside_and_named() -> None:
    layers = {"r1-001": [file("a", "2", was="1")], "r1-002": [file("a", "3", "r1-002", was="1")]}
    merged = merge(BASE, layers, ())
    assert merged.tree["a"].sha256 == "2"
    assert merged.tree["conflicts/r1-002/a"].sha256 == "3"
    assert merged.conflicts == ("r1-002 and r1-001 both changed 'a'; the version of r1-002 is 'conflicts/r1-002/a'",)


def test_the_same_change_twice_is_no_conflict() -> None:
    layers = {"r1-001": [file("a", "2", was="1")], "r1-002": [file("a", "2", "r1-002", was="1")]}
    assert merge(BASE, layers, ()).conflicts == ()


def test_deleting_what_another_changed_is_a_conflict_and_deletes_nothing() -> None:
    layers = {"r1-001": [file("a", "2", was="1")], "r1-002": [file("a", "", "r1-002", was="1")]}
    merged = merge(BASE, layers, ())
    assert merged.tree["a"].sha256 == "2" and len(merged.conflicts) == 1


def test_nobody_writes_inside_the_boundaries() -> None:
    merged = merge(BASE, {"r1-001": [file("law/x", "2"), file("lawn", "3")]}, ["law"])
    assert set(merged.tree) == {"a", "b", "lawn"} and "nobody may write" in merged.conflicts[0]


def test_a_scope_covers_itself_and_what_is_below() -> None:
    assert covered("a/b", ["a"]) and covered("a", ["a"]) and covered("x", ["."]) and covered("x", [""])
    assert not covered("ab", ["a"]) and not covered("a", ["a/b"])


def test_what_was_deleted_is_not_there_and_a_list_comes_back_as_it_was() -> None:
    tree = tree_of(BASE.values(), [file("b", ""), file("c", "4")])
    assert set(tree) == {"a", "c"}
    assert read_list(listed(tree)) == list(tree.values())


PATHS, SHAS = st.sampled_from("abc"), st.sampled_from("123")
LAYER = st.dictionaries(PATHS, SHAS, max_size=3)


@given(LAYER, st.lists(LAYER, max_size=4))
def test_merging_is_repeatable_and_loses_no_content(base: dict[str, str], layers: list[dict[str, str]]) -> None:
    tree = {path: file(path, sha) for path, sha in base.items()}
    written = {
        f"r1-{n:03d}": [file(p, s, f"r1-{n:03d}", base.get(p, "")) for p, s in layer.items() if s != base.get(p)]
        for n, layer in enumerate(layers)
    }
    once, again = merge(tree, written, ()), merge(tree, written, ())
    assert fingerprint(once.tree) == fingerprint(again.tree)
    # a verification that died after its files were committed finds nothing more to do
    assert merge(once.tree, written, ()).tree.keys() == once.tree.keys()
    contents = {f.sha256 for f in once.tree.values()}
    assert {f.sha256 for layer in written.values() for f in layer} <= contents, "each version is somewhere"
    assert [f for f in once.changed if f.sha256] == [once.tree[f.path] for f in once.changed if f.sha256]
