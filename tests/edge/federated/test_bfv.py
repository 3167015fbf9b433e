"""The encryption: sums open exactly for as many nodes as promised; hostile bytes in a process of their own.

Needs TenSEAL, which both the streaming and the edge environment have.
"""

import hashlib
import hmac
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from headrace.edge.federated import bfv
from headrace.edge.federated.bfv import Adder, Decryptor, Encryptor
from headrace.udfs.federated import ciphertext, frame, packing
from headrace.udfs.federated.ciphertext import BODY_BYTES
from headrace.udfs.federated.frame import Frame, FrameFault
from headrace.udfs.federated.packing import MODULUS, SLOTS
from tests.udfs.federated.test_frame import KEY, mutated

PUBLIC, SECRET = bfv.generate()
MUTATIONS = 2_000


def test_a_sum_of_two_worked_by_hand() -> None:
    encryptor = Encryptor(PUBLIC)
    first, second = np.zeros(SLOTS, np.int64), np.zeros(SLOTS, np.int64)
    first[:3], second[:3] = (5, -7, MODULUS // 2), (1, 2, 1)
    opened = Decryptor(SECRET).decrypt(ciphertext.add([encryptor.encrypt(first), encryptor.encrypt(second)]))
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
    secrets = [b"the key of node %d" % node for node in range(nodes)]
    tags = [packing.tag(secret, 1, 0) for secret in secrets]
    slots = [packing.pack(each, layout, np.array([tag]))[0] for each, tag in zip(values, tags, strict=True)]
    bodies = [encryptor.encrypt(each) for each in slots]
    assert {len(body) for body in bodies} == {BODY_BYTES}
    opened, held = packing.unpack(Decryptor(SECRET).decrypt(ciphertext.add(bodies))[None], layout, n)
    np.testing.assert_array_equal(opened, wanted)
    assert held[0] == packing.tag_sum(secrets, 1, 0)


@pytest.mark.soak
def test_as_many_nodes_as_promised_open_exactly() -> None:
    slots = np.random.default_rng(1).integers(-(MODULUS // 2), MODULUS // 2, SLOTS)
    encryptor, nodes = Encryptor(PUBLIC), bfv.NODES_MAX
    total = ciphertext.add([encryptor.encrypt(slots) for _ in range(nodes)])
    wanted = (slots.astype(object) * nodes % MODULUS).astype(np.int64)
    np.testing.assert_array_equal(Decryptor(SECRET).decrypt(total) % MODULUS, wanted)


def test_what_a_node_has_is_no_secret() -> None:
    assert not Encryptor(PUBLIC)._context.has_secret_key()
    assert len(bfv.without_keys()) < 100


def test_names_of_keys_and_parameters() -> None:
    assert bfv.key_id(PUBLIC) == hashlib.sha256(PUBLIC).digest()[:8]
    names = [bfv.parameters(packing.layout(width)) for width in (11, 15, 22)]
    assert len({*names}) == 3
    assert {len(name) for name in names} == {8}


def test_refused() -> None:
    with pytest.raises(ValueError, match="body must have 65536 bytes, got 100"):
        Decryptor(SECRET).decrypt(bytes(100))
    with pytest.raises(ValueError, match="body must have coefficients below"):
        Decryptor(SECRET).decrypt(b"\xff" * BODY_BYTES)
    with pytest.raises(ValueError, match="slots must have the shape"):
        Encryptor(PUBLIC).encrypt(np.zeros(3, np.int64))


def test_numpy_s_sum_has_the_bytes_of_tenseal_s() -> None:
    rng, encryptor = np.random.default_rng(3), Encryptor(PUBLIC)
    bodies = [encryptor.encrypt(rng.integers(-1000, 1000, SLOTS)) for _ in range(40)]
    for count in (1, 2, 14, 15, 40):
        assert ciphertext.add(bodies[:count]) == Adder().add(bodies[:count])


def hostile_frames(start: int, count: int) -> list[bytes]:
    """Returns frames that are mutated and then get the MAC of a node's valid key."""
    rng = random.Random(start)
    body = Encryptor(PUBLIC).encrypt(np.zeros(SLOTS, np.int64))
    sent = Frame(1, 0, 1, "node-1", bfv.key_id(PUBLIC), bfv.parameters(packing.layout(15)), body)
    signed = frame.encode(sent, KEY)[:-32]
    changed = [mutated(signed, rng) for _ in range(count)]
    return [value + hmac.digest(KEY, value, "sha256") for value in changed]


OPENING = """
import sys
from headrace.edge.federated.bfv import Decryptor
read = sys.stdin.buffer.read
decryptor = Decryptor(read(int.from_bytes(read(4), "big")))
while body := read(65536):
    decryptor.decrypt(body)
    print("opened", flush=True)
"""


def opened(sums: list[bytes]) -> int:
    """Opens with TenSEAL in a process of its own, which hostile bytes may end."""
    sent = len(SECRET).to_bytes(4, "big") + SECRET + b"".join(sums)
    ran = subprocess.run([sys.executable, "-c", OPENING], input=sent, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()[-500:]
    return len(ran.stdout.splitlines())


@pytest.mark.parametrize("start", [0, *(pytest.param(chunk, marks=pytest.mark.soak) for chunk in range(1, 50))])
def test_a_hostile_node_with_a_valid_key_can_change_numbers_and_nothing_else(start: int) -> None:
    """2,000 mutated frames a chunk, 100,000 in the soak: refused with a reason, or summed and opened; nothing dies."""
    honest = Encryptor(PUBLIC).encrypt(np.ones(SLOTS, np.int64))
    found: Counter[str] = Counter()
    sums = []
    for value in hostile_frames(start, MUTATIONS):
        assert frame.is_authentic(value, KEY)
        read = frame.parse(value, b"1/0")
        if isinstance(read, FrameFault):
            found[read.reason] += 1
        elif why := ciphertext.fault(read.body):
            found[why.split(",")[0]] += 1
        else:
            sums.append(ciphertext.add([honest, read.body]))
    assert found.total() + len(sums) == MUTATIONS
    assert found.keys() >= {"bad length", "not a frame", "wrong key"}
    assert opened(sums) == len(sums) > MUTATIONS / 20


def test_two_hostile_nodes_whose_bodies_cancel_do_not_stop_the_sum() -> None:
    """TenSEAL refuses to add these two: the whole round would be theirs to end."""
    first, honest = (Encryptor(PUBLIC).encrypt(np.full(SLOTS, number)) for number in (3, 4))
    numbers = np.frombuffer(first, "<u8")
    second = ((ciphertext.Q - numbers) % np.uint64(ciphertext.Q)).tobytes()
    assert ciphertext.fault(second) == ""
    total = ciphertext.add([first, second, honest])
    assert Decryptor(SECRET).decrypt(total).tolist() == [4] * SLOTS
    with pytest.raises(RuntimeError, match="transparent"):
        Adder().add([first, second, honest])
