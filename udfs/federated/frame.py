"""The binary frame that carries one chunk of a node's encrypted update; docs/federated.md has the protocol.

    magic 4, round 8, chunk 4, chunks 4, key id 8, parameters 8, length of node 1, length of body 4, node, body, MAC 32

Integers are big-endian. The MAC is HMAC-SHA256 (RFC 2104, FIPS 198-1) over everything before it, under a key that the
node and the aggregator share. `parse` is total: any bytes give a Frame or a FrameFault. It copies nothing before it
has checked the lengths against the size of the record. It checks the form alone; `is_authentic` checks the sender.
"""

import hashlib
import hmac
import struct
from typing import Literal, NamedTuple

MAGIC = b"HRF1"
NODE_BYTES_MAX = 64
BODY_BYTES_MAX = 1 << 17  # a ciphertext of edge/federated/bfv.py has 65.6 kB
CHUNKS_MAX = 1 << 16
_HEADER = struct.Struct(">4sQII8s8sBI")
MAC_BYTES = 32
_ROUND_MAX = (1 << 63) - 1  # Kafka, Flink and Java have signed integers only
BYTES_MAX = _HEADER.size + NODE_BYTES_MAX + BODY_BYTES_MAX + MAC_BYTES

Reason = Literal[
    "too short", "too long", "not a frame", "bad length", "bad round", "bad chunk", "bad node", "wrong key"
]


class Frame(NamedTuple):
    round: int
    chunk: int  # 0 to chunks - 1
    chunks: int
    node: str
    key_id: bytes  # 8, of the public key
    parameters: bytes  # 8, fingerprint of the encryption's parameters and the layout
    body: bytes


class FrameFault(NamedTuple):
    reason: Reason
    detail: str  # field, rule, value


def encode(frame: Frame, mac_key: bytes) -> bytes:
    """The bytes of a frame with its MAC. Raises ValueError if `parse` would refuse them."""
    node = frame.node.encode()
    lengths = len(node), len(frame.body)
    try:
        header = _HEADER.pack(MAGIC, *frame[:3], frame.key_id, frame.parameters, *lengths)
    except struct.error as error:
        raise ValueError(
            f"frame's numbers must fit their fields ({error}), got {frame[:3]} and lengths {lengths}"
        ) from None
    signed = header + node + frame.body
    value = signed + _mac(signed, mac_key)
    parsed = parse(value)
    if parsed != frame:
        raise ValueError(f"frame must be as it is read again, got {parsed[:6]}")
    return value


def parse(value: bytes, key: bytes | None = None) -> Frame | FrameFault:
    """Reads the frame in a Kafka record. `key` is the record's key, which must name the same round and chunk."""
    if len(value) < _HEADER.size + MAC_BYTES:
        return FrameFault("too short", f"a frame must have >= {_HEADER.size + MAC_BYTES} bytes, got {len(value)}")
    if len(value) > BYTES_MAX:
        return FrameFault("too long", f"a frame must have <= {BYTES_MAX} bytes, got {len(value)}")
    magic, round_, chunk, chunks, key_id, parameters, node_bytes, body_bytes = _HEADER.unpack_from(value)
    if magic != MAGIC:
        return FrameFault("not a frame", f"a frame must begin with {MAGIC!r}, got {magic!r}")
    size = _HEADER.size + node_bytes + body_bytes + MAC_BYTES
    if len(value) != size or node_bytes > NODE_BYTES_MAX or not 0 < body_bytes <= BODY_BYTES_MAX:
        lengths = f"node {node_bytes}, body {body_bytes} in {len(value)} bytes"
        return FrameFault(
            "bad length", f"lengths must fit the frame, {NODE_BYTES_MAX} and {BODY_BYTES_MAX}, got {lengths}"
        )
    if round_ > _ROUND_MAX:
        return FrameFault("bad round", f"round must be < 2^63, got {round_}")
    if not chunk < chunks <= CHUNKS_MAX:
        return FrameFault("bad chunk", f"chunk must be < chunks <= {CHUNKS_MAX}, got {chunk} of {chunks}")
    node = _text(value[_HEADER.size : _HEADER.size + node_bytes])
    if not node:
        return FrameFault("bad node", "node must be printable text of at least one character")
    if key is not None and key != kafka_key(round_, chunk):
        return FrameFault("wrong key", f"the record's key must be {kafka_key(round_, chunk)!r}, got {key[:40]!r}")
    body = value[_HEADER.size + node_bytes : -MAC_BYTES]
    return Frame(round_, chunk, chunks, node, key_id, parameters, body)


def kafka_key(round_: int, chunk: int) -> bytes:
    """The key of a frame's Kafka record, so that the frames of one chunk are in one partition."""
    return b"%d/%d" % (round_, chunk)


def is_authentic(value: bytes, mac_key: bytes) -> bool:
    """Whether the frame ends in the MAC of everything before it. The comparison takes constant time."""
    view = memoryview(value)
    return hmac.compare_digest(_mac(view[:-MAC_BYTES], mac_key), view[-MAC_BYTES:])


def _mac(signed: bytes | memoryview, mac_key: bytes) -> bytes:
    return hmac.digest(mac_key, signed, hashlib.sha256().name)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""
