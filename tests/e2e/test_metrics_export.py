"""`trainyard metrics export`: what TensorBoard and a spreadsheet read is what the job said."""

import csv
import io
import math
import struct


def crc32c(data):
    """Castagnoli, reflected polynomial 0x82F63B78 (RFC 3720), bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """TensorFlow's record framing: length, its checksum, bytes, their checksum."""
    while data:
        (size,), (of_size,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        body, (of_body,) = data[12:12 + size], struct.unpack("<I", data[12 + size:16 + size])
        assert masked(data[:8]) == of_size and masked(body) == of_body
        yield body
        data = data[16 + size:]


def fields(message):
    """(number, value) of a protobuf message: ints for varints, bytes for the rest."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[at:at + size]
        at += size


def scalars(data):
    """{(tag, step): value} of an events file; the first record must name the format."""
    version, *events = records(data)
    assert dict(fields(version))[3] == b"brain.Event:2"
    found = {}
    for event in map(dict, map(fields, events)):
        for number, value in fields(event[5]):
            assert number == 1
            scalar = dict(fields(value))
            place = scalar[1].decode(), event.get(2, 0)
            assert place not in found, "one value per tag and step"
            (found[place],) = struct.unpack("<f", scalar[2])
    return found


def test_exported_curves_are_those_of_the_job(cluster):
    job_id = cluster.submit(cluster.write_job(steps=12, save_steps=6, eval_steps=6))
    cluster.wait_for_success(job_id)
    folder = cluster.home / "logs"
    for _ in range(2):  # the second time replaces the first
        result = cluster.run("metrics", "export", "tiny", "--tensorboard", folder, "--csv", "-")
    assert "tensorboard --logdir" in result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [int(r["step"]) for r in rows if r["name"] == "loss"] == list(range(1, 13))
    assert {int(r["step"]) for r in rows if r["name"] == "eval_loss"} == {6, 12}
    loss = [float(r["value"]) for r in rows if r["name"] == "loss"]
    assert loss[0] > loss[-1] > 0 and abs(loss[0] - math.log(300)) < 0.5

    (events,) = folder.glob(f"{job_id}/events.out.tfevents.*")
    found = scalars(events.read_bytes())
    assert len(found) == len(rows)
    for row in rows:
        assert math.isclose(found[row["name"], int(row["step"])], float(row["value"]), rel_tol=1e-6, abs_tol=1e-9)

    one = cluster.run("metrics", "export", job_id, "--csv", folder / "loss.csv", "--metric", "loss", "--max-points", 5)
    assert one.stdout == ""
    thinned = list(csv.DictReader((folder / "loss.csv").open()))
    assert {r["name"] for r in thinned} == {"loss"} and 2 <= len(thinned) <= 5


def test_metrics_export_says_what_is_wrong(cluster):
    waiting = cluster.submit(cluster.write_job(name="wide", ranks=4))
    for words, code, word in [
        ((waiting,), 2, "--tensorboard"),
        (("nosuchjob", "--csv", "-"), 3, "nosuchjob"),
        ((waiting, "--csv", "-"), 3, "no metrics yet"),
        ((waiting, "--csv", "-", "--metric", "lose"), 3, "no such metrics"),
        ((), 2, "job"),
    ]:
        result = cluster.run("metrics", "export", *words, check=False)
        assert result.returncode == code and word in result.stderr, (words, result)
    assert "Example: trainyard metrics export" in cluster.run("metrics", "export", "--help").stdout
    cluster.run("cancel", waiting)
