"""SCRAM and SASLprep as in the RFCs, without a broker: their examples, another implementation, wrong messages."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress

import attrs
import pytest
from emqx_sasl.saslprep import NotAllowed, saslprep
from emqx_sasl.scram import (
    MAX_MESSAGE,
    MECHANISMS,
    ClientFirst,
    ScramError,
    derive,
    read_final,
    read_first,
    server_final,
    server_first,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scramp import ScramClient

RFC5802 = (
    "SCRAM-SHA-1",
    b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
RFC7677 = (
    "SCRAM-SHA-256",
    b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)


def challenged(said: bytes, nonce: str) -> ClientFirst:
    """client-first as it is known at the end, when the nonce has both halves."""
    first = read_first(said)
    return ClientFirst(first.header, first.bare, first.username, nonce)


# -- the examples of the RFCs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mechanism", "first", "challenge", "final", "answer"), [RFC5802, RFC7677], ids=["RFC 5802", "RFC 7677"]
)
def test_the_example_of_the_rfc(mechanism: str, first: bytes, challenge: str, final: bytes, answer: bytes) -> None:
    nonce, salt, rounds = (part[2:] for part in challenge.split(","))
    asked = challenged(first, nonce)
    assert asked.username == "user"
    assert nonce.startswith(read_first(first).nonce)
    assert server_first(nonce, b64decode(salt), int(rounds)) == challenge
    keys = derive(mechanism, "pencil", b64decode(salt), 4096)
    assert server_final(mechanism, keys, asked, challenge, read_final(final)) == answer
    wrong = derive(mechanism, "pen", b64decode(salt), 4096)
    assert server_final(mechanism, wrong, asked, challenge, read_final(final)) is None


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep_examples(text: str, prepared: str) -> None:
    """[RFC4013 3]"""
    assert saslprep(text, stored=True) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "", "\u00ad", "a\u200e", "\ue000", "\ufffd", "\x7f"])
def test_saslprep_refuses(text: str) -> None:
    """[RFC4013 3] prohibited characters and mixed directions; and nothing at all."""
    with pytest.raises(NotAllowed) as caught:
        saslprep(text, stored=False)
    assert not text or text not in str(caught.value)


def test_new_characters_are_sent_and_not_stored() -> None:
    """[RFC3454 7] U+0221 was not assigned in Unicode 3.2."""
    assert saslprep("\u0221", stored=False) == "\u0221"
    with pytest.raises(NotAllowed):
        saslprep("\u0221", stored=True)


@given(st.text())
def test_saslprep_raises_nothing_else_and_is_stable(text: str) -> None:
    for stored in (True, False):
        with suppress(NotAllowed):
            prepared = saslprep(text, stored)
            assert saslprep(prepared, stored) == prepared


# -- with another implementation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    ("username", "password"), [("user", "pencil"), ("a,b=c", "p,=p"), ("\u2168", "I\u00adX"), ("名", "é")]
)
def test_scramp_and_we_understand_each_other(mechanism: str, username: str, password: str) -> None:
    client = ScramClient([mechanism], username, password)
    said = client.get_client_first().encode()
    assert read_first(said).username == saslprep(username, stored=True)
    nonce = read_first(said).nonce + "ours"
    challenge = server_first(nonce, b"salt of some length", 4096)
    client.set_server_first(challenge)
    keys = derive(mechanism, saslprep(password, stored=True), b"salt of some length", 4096)
    final = read_final(client.get_client_final().encode())
    answer = server_final(mechanism, keys, challenged(said, nonce), challenge, final)
    assert answer is not None
    client.set_server_final(answer.decode())  # raises when our signature is wrong


# -- client-first ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "header", "username"),
    [
        (b"n,,n=user,r=abc", "n,,", "user"),
        (b"y,,n=user,r=abc", "y,,", "user"),
        (b"n,a=user,n=user,r=abc", "n,a=user,", "user"),
        (b"n,,n=a=2Cb=3Dc,r=abc,x=more", "n,,", "a,b=c"),
        ("n,,n=\u2168,r=abc".encode(), "n,,", "IX"),
    ],
)
def test_client_first(said: bytes, header: str, username: str) -> None:
    first = read_first(said)
    assert (first.header, first.username, first.nonce) == (header, username, "abc")
    assert first.header + first.bare == said.decode()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=user",
        b"n,,r=abc,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        "n,,n=user,r=é".encode(),
        b"n,,n=user,r=abc,",
        b"n,,n=user,r=abc,x",
        b"n,,n=user,r=abc,1=x",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,n=user=,r=abc",
        b"n,,m=ext,n=user,r=abc",
        b"n,a=admin,n=user,r=abc",
        b"n,admin,n=user,r=abc",
        b"p=tls-unique,,n=user,r=abc",
        b"p,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"N,,n=user,r=abc",
        b"n,,n=us\x00er,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=us\x07er,r=abc",
        b"n,,n=" + b"u" * MAX_MESSAGE + b",r=abc",
    ],
)
def test_client_first_that_is_none(said: bytes) -> None:
    with pytest.raises(ScramError):
        read_first(said)


# -- client-final ----------------------------------------------------------------------------------------------------


def test_client_final() -> None:
    final = read_final(b"c=biws,r=abc,x=more,p=cHJvb2Y=")
    assert (final.header, final.nonce, final.proof) == (b"n,,", "abc", b"proof")
    assert final.without_proof == "c=biws,r=abc,x=more"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"c=biws,r=abc",
        b",p=cHJvb2Y=",
        b"c=biws,p=cHJvb2Y=",
        b"r=abc,c=biws,p=cHJvb2Y=",
        b"c=bi?s,r=abc,p=cHJvb2Y=",
        "c=é,r=abc,p=cHJvb2Y=".encode(),
        b"c=biws,r=,p=cHJvb2Y=",
        b"c=biws,r=abc,p=cHJvb2Y",
        b"c=biws,r=abc,,p=cHJvb2Y=",
        b"c=biws,r=abc,p=cHJvb2Y=,x=more",
        b"c=biws,r=abc,p=\xff",
        b"c=biws,r=abc,p=" + b"A" * MAX_MESSAGE,
    ],
)
def test_client_final_that_is_none(said: bytes) -> None:
    with pytest.raises(ScramError):
        read_final(said)


PIECES = st.sampled_from(
    ["n", "y", "p=x", ",", "a=", "n=", "r=", "c=", "p=", "m=", "=2C", "=", "user", "abc", "biws", "é", "\0"]
)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.lists(PIECES, max_size=14).map(lambda parts: "".join(parts).encode()))
@example("c=biws,r=abc,p=é".encode())
def test_whatever_comes_the_parser_raises_its_own_error_only(data: bytes) -> None:
    for read in (read_first, read_final):
        with suppress(ScramError):
            read(data)


@settings(deadline=None)
@given(st.sampled_from(["proof", "nonce", "header", "bare", "challenge"]), st.integers(0, 1000))
def test_one_changed_character_anywhere_is_a_wrong_proof(where: str, at: int) -> None:
    mechanism, said, challenge, answer, _ = RFC7677
    nonce = challenge.split(",")[0][2:]
    asked, final, keys = challenged(said, nonce), read_final(answer), KEYS
    assert server_final(mechanism, keys, asked, challenge, final) is not None
    if where == "challenge":
        challenge = _flip(challenge, at)
    elif where in ("header", "bare", "nonce"):
        asked = attrs.evolve(asked, **{where: _flip(getattr(asked, where), at)})
    else:
        proof = bytearray(final.proof)
        proof[at % len(proof)] ^= 1 << (at % 8)
        final = read_final(f"{final.without_proof},p={b64encode(proof).decode()}".encode())
    assert server_final(mechanism, keys, asked, challenge, final) is None


def _flip(text: str, at: int) -> str:
    at %= len(text)
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


KEYS = derive("SCRAM-SHA-256", "pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)


@pytest.mark.parametrize("proof", [b"", b"A" * 31, b"A" * 33], ids=len)
def test_a_proof_of_another_length(proof: bytes) -> None:
    mechanism, said, challenge, answer, _ = RFC7677
    final = read_final(f"{read_final(answer).without_proof},p={b64encode(proof).decode()}".encode())
    assert server_final(mechanism, KEYS, challenged(said, challenge.split(",")[0][2:]), challenge, final) is None
