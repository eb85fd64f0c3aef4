"""Sealing: with the key everything comes back, without it nothing does, and whatever was changed or moved is noticed."""

import base64

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import strategies as some

from store import StoreDamaged
from store.sealing import KEY_BYTES, Seal, key_of
from tests.store.other_process import run_python

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
texts = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"))


class TestKeys:
    """Operators write keys in the forms that tools make, and are told what is wrong without being quoted."""

    @given(key=some.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
    @example(key=b"\xff" * KEY_BYTES)
    def test_hexadecimal_and_base64_are_read_alike(self, key: bytes) -> None:
        written = (key.hex(), key.hex().upper(), base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode())
        written += (written[-1].rstrip("="),)
        assert [key_of(text) for text in (*written, f" {key.hex()}\n")] == [key] * 6

    @pytest.mark.parametrize(
        "text", ["", "secret-wombat", "0" * 63, "0" * 65, "g" * 64, "é" * 64, "A" * 42, "AAAA" * 10, "AAAA" * 11 + "=="]
    )
    def test_what_is_no_key_is_refused_and_not_quoted(self, text: str) -> None:
        with pytest.raises(ValueError, match="openssl rand -hex 32") as told:
            key_of(text)
        assert not text or text not in str(told.value)
        assert told.value.__context__ is None, "a traceback would show it"

    @pytest.mark.parametrize("length", [0, 16, 31, 33])
    def test_a_key_has_32_bytes(self, length: int) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Seal(bytes(length))


class TestSealed:
    """What was sealed is opened with its key, as what it was sealed as, unchanged; or not at all."""

    @given(text=texts)
    def test_a_text_comes_back(self, text: str) -> None:
        assert Seal(KEY).open_text(Seal(KEY).close_text(text, 7, "message"), 7, "message") == text

    @given(data=some.binary())
    def test_bytes_come_back_and_are_longer_by_the_overhead(self, data: bytes) -> None:
        sealed = Seal(KEY).close(data, 7, "data")
        assert Seal(KEY).open(sealed, 7, "data") == data
        assert len(sealed) == len(data) + Seal.OVERHEAD

    @given(data=some.binary(), chance=some.randoms())
    def test_one_bit_that_was_changed_is_noticed(self, data: bytes, chance) -> None:
        sealed = bytearray(Seal(KEY).close(data, 7, "data"))
        sealed[chance.randrange(len(sealed))] ^= 1 << chance.randrange(8)
        with pytest.raises(StoreDamaged, match="conversation 7"):
            Seal(KEY).open(bytes(sealed), 7, "data")

    @given(text=texts, chance=some.randoms())
    def test_a_character_that_was_changed_never_makes_another_text(self, text: str, chance) -> None:
        sealed = Seal(KEY).close_text(text, 7, "message")
        at = chance.randrange(len(sealed))
        changed = sealed[:at] + chance.choice("Az09+/=é ") + sealed[at + 1 :]
        try:
            opened = Seal(KEY).open_text(changed, 7, "message")
        except StoreDamaged:
            return
        assert opened == text, "the last character of base64 has bits that mean nothing"

    @given(text=texts, cut=some.integers(min_value=1))
    def test_a_text_that_was_cut_is_noticed(self, text: str, cut: int) -> None:
        sealed = Seal(KEY).close_text(text, 7, "message")
        with pytest.raises(StoreDamaged):
            Seal(KEY).open_text(sealed[: -(1 + cut % len(sealed))], 7, "message")

    @given(text=texts)
    def test_it_opens_nowhere_else_and_with_no_other_key(self, text: str) -> None:
        sealed = Seal(KEY).close_text(text, 7, "message")
        for seal, conversation_id, what in (
            (Seal(OTHER), 7, "message"),
            (Seal(KEY), 8, "message"),
            (Seal(KEY), 7, "answer"),
            (Seal(KEY), 7, "persona"),
        ):
            with pytest.raises(StoreDamaged):
                seal.open_text(sealed, conversation_id, what)

    @given(text=texts)
    def test_what_was_never_sealed_is_refused(self, text: str) -> None:
        with pytest.raises(StoreDamaged):
            Seal(KEY).open_text(text, 7, "message")

    def test_the_same_text_never_looks_the_same(self) -> None:
        sealed = {Seal(KEY).close_text("yes", 7, "message") for _ in range(1000)}
        assert len(sealed) == 1000
        assert len({base64.b64decode(text)[:12] for text in sealed}) == 1000, "a nonce that comes twice gives the key away"

    def test_the_operators_key_itself_seals_nothing(self) -> None:
        sealed = Seal(KEY).close(b"hello", 7, "data")
        with pytest.raises(InvalidTag):
            AESGCM(KEY).decrypt(sealed[:12], sealed[12:], b"7 data")

    def test_the_refusal_says_nothing_of_what_is_kept(self) -> None:
        with pytest.raises(StoreDamaged) as told:
            Seal(KEY).open_text("wombat", 7, "message")
        assert "wombat" not in str(told.value)

    def test_a_seal_does_not_give_its_key_away(self) -> None:
        seal = Seal(KEY)
        shown = repr(seal) + str(seal) + repr([getattr(seal, name) for name in Seal.__slots__])
        assert KEY.hex() not in shown
        assert repr(KEY) not in shown
        assert not hasattr(seal, "__dict__")


class TestProofs:
    """A key is known again by its proof, for its number alone."""

    @given(number=some.integers(0, 32767), key=some.binary(min_size=32, max_size=32))
    def test_a_key_proves_its_own_number_and_no_other(self, number: int, key: bytes) -> None:
        proof = Seal(key).proof(number)
        assert Seal(key).proves(proof, number)
        assert not Seal(key).proves(proof, number + 1)
        assert not Seal(bytes(255 - byte for byte in key)).proves(proof, number)

    @given(proof=texts)
    def test_nothing_else_is_a_proof(self, proof: str) -> None:
        assert not Seal(KEY).proves(proof, 1)

    def test_a_proof_is_no_text(self) -> None:
        with pytest.raises(StoreDamaged):
            Seal(KEY).open_text(Seal(KEY).proof(1), 1, "message")


def test_a_store_without_a_key_does_not_load_the_cipher() -> None:
    assert run_python(OPENS_WITHOUT_A_KEY) == {"loaded": []}


OPENS_WITHOUT_A_KEY = """
import asyncio
from store import open_store
async def main():
    await (await open_store("sqlite:///:memory:")).aclose()
asyncio.run(main())
tell(loaded=[name for name in sys.modules if name.startswith("cryptography")])
"""
