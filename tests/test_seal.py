from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.canonical.seal import Sealed, seal, unseal

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
maybe = st.none() | texts


@given(st.builds(Sealed, texts, maybe, maybe, st.lists(texts).map(tuple)))
def test_what_was_sealed_comes_back(sealed: Sealed) -> None:
    text = seal(sealed)
    assert re.fullmatch(r"aigw1\.[A-Za-z0-9_-]*", text)
    assert unseal(text) == sealed


@given(texts)
def test_other_texts_are_nobodys_seal(text: str) -> None:
    assert unseal(text) is None


@pytest.mark.parametrize("text", ["aigw1.", "aigw1.%%%", "aigw1.e30=x", "aigw1.W10", "aigw1.eyJvIjoxfQ", "aigw1.A"])
def test_a_broken_seal_is_none(text: str) -> None:
    assert unseal(text) is None
