"""Rows as text: what the store takes comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioemqx.services.store.protocol import RowError, StoreError, decode_row, encode_row

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.characters(categories=["Cs"]),
    lambda members: st.lists(members, max_size=4) | st.dictionaries(st.text(), members, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_a_row_that_is_taken_comes_back(row):
    try:
        text = encode_row(row)
    except RowError:
        return
    found = decode_row(text)
    assert found == row
    assert repr(found) == repr(row), "also 1.0 and True are what they were"


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"a":}', "[" * 100_000, "{'a': 1}", '{"a": NaN}'])
def test_anything_else_is_a_store_error(text):
    with pytest.raises(StoreError):
        decode_row(text)
