"""The encryption: sums open exactly, for as many nodes as promised; what hostile bytes do, in a process of their own.

Needs TenSEAL, which both the streaming and the edge environment have.
"""

import hashlib
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from infra import homomorphic
from infra.homomorphic import Adder, Decryptor, Encryptor
from tests.udfs.test_frame import KEY, mutated
from udfs import frame, packing
from udfs.frame import Frame
from udfs.packing import MODULUS, SLOTS

PUBLIC, SECRET = homomorphic.generate()
MUTATIONS = 2_000  # in CI; 100,000 in the soak


def test_a_sum_of_two_worked_by_hand() -> None:
    encryptor = Encryptor(PUBLIC)
    first, second = np.zeros(SLOTS, np.int64), np.zeros(SLOTS, np.int64)
    first[:3], second[:3] = (5, -7, MODULUS // 2), (1, 2, 1)
    opened = Decryptor(SECRET).decrypt(homomorphic.add([encryptor.encrypt(first), encryptor.encrypt(second)]))
    assert opened[:3].tolist() == [6, -5, MODULUS // 2 + 1 - MODULUS]
    assert not opened[3:].any()


@pytest.mark.parametrize("nodes", [3, 50, 1000])
def test_the_opened_sum_is_the_plaintext_sum(nodes: int) -> None:
    """Three fields a slot, at the ends of their range, with the tags that the key holder checks."""
    rng, layout = np.random.default_rng(nodes), packing.layout(15)
    half = 2 ** (layout.width - 1)
    encryptor, n = Encryptor(PUBLIC), layout.values()
    wanted = rng.choice([-half, half - 1, 0, -1], n)
    values = rng.integers(-5 * half, 5 * half, (nodes, n)) // max(1, nodes // 10)
    values[0] += wanted - values.sum(axis=0)
    secrets = [b"node %d" % node for node in range(nodes)]
    tags = [packing.tag(secret, 1, 0) for secret in secrets]
    slots = [packing.pack(each, layout, np.array([tag]))[0] for each, tag in zip(values, tags, strict=True)]
    bodies = [encryptor.encrypt(each) for each in slots]
    assert {len(body) for body in bodies} <= set(range(65_500, 65_700))
    opened, held = packing.unpack(Decryptor(SECRET).decrypt(Adder().add(bodies))[None], layout, n)
    np.testing.assert_array_equal(opened, wanted)
    assert held[0] == packing.tag_sum(secrets, 1, 0)


@pytest.mark.soak
def test_as_many_ciphertexts_as_promised_open_exactly() -> None:
    """One body 10,000 times is harder than 10,000 bodies: its noise adds up as a multiple, not as a root."""
    slots = np.random.default_rng(1).integers(-(MODULUS // 2), MODULUS // 2, SLOTS)
    encryptor, adder, nodes = Encryptor(PUBLIC), Adder(), homomorphic.NODES_MAX
    parts = [adder.add([encryptor.encrypt(slots) for _ in range(100)]) for _ in range(nodes // 100)]
    opened = Decryptor(SECRET).decrypt(adder.add(parts))
    wanted = (slots.astype(object) * nodes % MODULUS).astype(np.int64)
    np.testing.assert_array_equal(opened % MODULUS, wanted)


def test_the_aggregator_s_context_has_no_key() -> None:
    context = Adder()._context
    assert not context.has_public_key()
    assert not context.has_secret_key()
    assert len(homomorphic.without_keys()) < 100
    assert not Encryptor(PUBLIC)._context.has_secret_key()


def test_names_of_keys_and_parameters() -> None:
    assert homomorphic.key_id(PUBLIC) == hashlib.sha256(PUBLIC).digest()[:8]
    names = [homomorphic.parameters(packing.layout(width)) for width in (11, 15, 22)]
    assert len({*names}) == 3
    assert {len(name) for name in names} == {8}


def test_refused() -> None:
    body = Encryptor(PUBLIC).encrypt(np.zeros(SLOTS, np.int64))
    for hostile in (b"", b"\0" * 100, body[:-1], body + b"x", b"\x5e\xa1\x10\x03" + body[4:]):
        with pytest.raises(ValueError, match="body must be one of SEAL 4"):
            homomorphic.add([body, hostile])
    with pytest.raises(ValueError, match="bodies must be 1 to 10000, got 0"):
        homomorphic.add([])
    with pytest.raises(ValueError, match="slots must have the shape"):
        Encryptor(PUBLIC).encrypt(np.zeros(3, np.int64))


def hostile_bodies(start: int, count: int) -> list[bytes]:
    """Mutated ciphertexts whose length is what their header says: as a node with a valid key can send them."""
    rng = random.Random(start)
    body = Encryptor(PUBLIC).encrypt(np.zeros(SLOTS, np.int64))
    bodies = []
    for _ in range(count):
        cut = rng.choice([len(body), 120])  # half of the changes to what describes, not to the numbers
        changed = mutated(body[:cut], rng) + body[cut:]
        bodies.append(
            changed[:8] + len(changed).to_bytes(8, "little") + changed[16:] if rng.random() < 0.5 else changed
        )
    return bodies


def framed(body: bytes) -> bytes:
    """Without the checks of `encode`, as a hostile node does it."""
    sent = Frame(1, 0, 1, "node-1", homomorphic.key_id(PUBLIC), homomorphic.parameters(packing.layout(15)), b"x")
    header = frame.encode(sent, KEY)[: frame._HEADER.size - 4] + len(body).to_bytes(4, "big")
    signed = header + b"node-1" + body
    return signed + frame._mac(signed, KEY)


def outcomes(start: int, count: int) -> Counter[str]:
    """What becomes of each when summed with an honest body, in other processes: one that dies ends that body alone."""
    found: Counter[str] = Counter()
    bodies = hostile_bodies(start, count)
    for body in bodies:
        value = framed(body)
        assert frame.is_authentic(value, KEY)
        found["refused as a frame"] += not isinstance(frame.parse(value), Frame)
    left = [body for body in bodies if isinstance(frame.parse(framed(body)), Frame)]
    while left:
        lines = summing(left)
        found.update(lines)
        if len(lines) < len(left):
            found["killed the process"] += 1
        left = left[len(lines) + 1 :]
    return found


SUMMING = """
import sys
from infra.homomorphic import Adder
adder, read = Adder(), sys.stdin.buffer.read
honest = read(int.from_bytes(read(4), "big"))
while size := read(4):
    try:
        adder.add([honest, read(int.from_bytes(size, "big"))])
        print("added", flush=True)
    except Exception as error:
        print("refused:", type(error).__name__, flush=True)
"""


def summing(bodies: list[bytes]) -> list[str]:
    honest = Encryptor(PUBLIC).encrypt(np.ones(SLOTS, np.int64))
    sent = b"".join(len(body).to_bytes(4, "big") + body for body in [honest, *bodies])
    ran = subprocess.run([sys.executable, "-c", SUMMING], input=sent, capture_output=True)
    return ran.stdout.decode().splitlines()


@pytest.mark.parametrize("start", [0, *(pytest.param(chunk, marks=pytest.mark.soak) for chunk in range(1, 50))])
def test_a_hostile_node_with_a_valid_key_ends_no_more_than_the_sum_it_is_in(start: int) -> None:
    """It may add numbers without meaning; docs/privacy.md says so. It must not take down what sums the others."""
    found = outcomes(start, MUTATIONS)
    assert found.total() == MUTATIONS
    assert found["killed the process"] == 0
    assert found["added"] > 0
    assert found["refused: ValueError"] > 0
