"""The sum in the JVM (udfs/jvm/Ciphertexts.java) has the bytes of the one in Python."""

import subprocess
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

from headrace.infra import paths
from headrace.infra.stack import programs
from headrace.udfs.federated import ciphertext
from headrace.udfs.federated.ciphertext import BODY_BYTES, Q

pytestmark = pytest.mark.flink
SUM = """
import headrace.Ciphertexts;

public class Sum {
  public static void main(String[] told) throws Exception {
    int bytes = Integer.parseInt(told[1]), end = 7 + bytes;
    var sum = new Ciphertexts(Long.parseLong(told[0]), bytes);
    for (byte[] frame; (frame = System.in.readNBytes(end + 5)).length > 0;) sum.add(frame, end);
    System.out.print(sum.base64());
  }
}
"""


def summed(bodies: list[bytes], folder: Path) -> bytes:
    source = folder / "Sum.java"
    source.write_text(SUM)
    command = [programs.java(), "-cp", str(paths.job_jar()), str(source), str(Q), str(BODY_BYTES)]
    frames = b"".join(b"\xff" * 7 + body + b"\xff" * 5 for body in bodies)
    return b64decode(subprocess.run(command, input=frames, stdout=subprocess.PIPE, check=True).stdout)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_sums_have_the_bytes_of_pythons(count: int, tmp_path: Path) -> None:
    rows = np.random.default_rng(count).integers(0, Q, (count, BODY_BYTES // 8), np.uint64)
    rows[:, :3] = [0, 1, Q - 1]
    rows[0, 1] = Q - 1  # with another node's 1: q, that is 0
    bodies = [row.astype("<u8").tobytes() for row in rows]
    assert summed(bodies, tmp_path) == ciphertext.add(bodies)
