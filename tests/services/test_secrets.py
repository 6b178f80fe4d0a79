"""Secrets as hashes: who guesses names learns nothing from the time that it takes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from trioemqx.services import secrets
from trioemqx.services.secrets import hash_secret, is_hash, verify_secret


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The costs of all hashes that are made."""
    costs: list[int] = []
    scrypt = hashlib.scrypt

    def counted(password: bytes, **named: Any) -> bytes:
        costs.append(named["n"])
        return scrypt(password, **named)

    secrets._nobodys()  # made once, the first time
    monkeypatch.setattr(hashlib, "scrypt", counted)
    return costs


def test_a_hash_is_of_one_secret_only() -> None:
    kept = hash_secret("s3cret")
    assert is_hash(kept)
    assert "s3cret" not in kept
    assert verify_secret("s3cret", kept)
    assert not verify_secret("s3cret ", kept)
    assert hash_secret("s3cret") != kept, "the salt is new each time"


def test_an_unknown_name_costs_as_much_as_a_wrong_secret(hashed: list[int]) -> None:
    kept = hash_secret("s3cret")
    hashed.clear()
    assert not verify_secret("wrong", kept)
    assert not verify_secret("wrong", None)
    assert hashed == [2**secrets.COST] * 2


def test_what_is_no_hash_is_nobodys_secret() -> None:
    for kept in ("", "s3cret", f"{secrets.PREFIX}14$x", f"{secrets.PREFIX}99$AAAA$AAAA"):
        assert not verify_secret("s3cret", kept)
        assert not is_hash(kept)
