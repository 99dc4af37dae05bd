"""A gRPC client that knows only proto/ and a token: what any language's users have."""

import hashlib
import importlib
import importlib.util
import pathlib
import socket
import sys

import grpc
import pytest
from cluster import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    from grpc_tools import protoc
    out = tmp_path_factory.mktemp("stubs")
    files = [str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").rglob("*.proto")]
    assert protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}",
                        f"--python_out={out}", f"--grpc_python_out={out}", *files]) == 0
    sys.path.insert(0, str(out))
    names = ("job_pb2", "job_service_pb2", "job_service_pb2_grpc", "blob_service_pb2", "blob_service_pb2_grpc")
    class Stubs:
        pass
    for name in names:
        setattr(Stubs, name, importlib.import_module(f"trainyard.v1.{name}"))
    Stubs.error_info = _load(out / "google/rpc/error_details_pb2.py")
    yield Stubs
    sys.path.remove(str(out))


def _load(path):
    """google.rpc by file: the installed `google` package hides ours."""
    spec = importlib.util.spec_from_file_location("error_details_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def error_info(stubs, error):
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status = stubs.error_info.Status.FromString(value)
            for detail in status.details:
                info = stubs.error_info.ErrorInfo()
                if detail.Unpack(info):
                    return info
    raise AssertionError(f"no ErrorInfo in {error}")


def test_a_plain_client_submits_watches_tails_and_gets_typed_errors(cluster, stubs):
    channel = grpc.insecure_channel(cluster.addresses["grpc"])
    auth = [("authorization", f"Bearer {cluster.token()}")]
    jobs = stubs.job_service_pb2_grpc.JobServiceStub(channel)
    blobs = stubs.blob_service_pb2_grpc.BlobServiceStub(channel)

    text = cluster.sample_text().read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    def pieces():
        for offset in range(0, len(text), 1 << 16):
            request = stubs.blob_service_pb2.UploadRequest(data=text[offset:offset + (1 << 16)])
            if offset == 0:
                request.sha256, request.size_bytes = digest, len(text)
            yield request
    spec = stubs.job_pb2.JobSpec(version=1, name="plain", kind="pretrain")
    spec.model.preset = "llama-nano"
    spec.tokenizer.train.vocab_size = 300
    source = spec.data.train.add(format="text")
    source.files.add(name="text.txt", sha256=digest, size_bytes=len(text))
    spec.train.max_steps, spec.train.global_batch_size, spec.train.max_length = 12, 4, 64
    spec.train.learning_rate = 1e-3
    spec.resources.ranks = 2
    request = stubs.job_service_pb2.CreateJobRequest(spec=spec, request_id="plain-1")

    with pytest.raises(grpc.RpcError) as missing:
        jobs.CreateJob(request, metadata=auth)
    assert missing.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error_info(stubs, missing.value).reason == "MISSING_BLOBS"

    assert blobs.Upload(pieces(), metadata=auth).sha256 == digest
    job = jobs.CreateJob(request, metadata=auth)
    assert jobs.CreateJob(request, metadata=auth).job_id == job.job_id

    states = [r.job.state for r in jobs.WatchJob(stubs.job_service_pb2.WatchJobRequest(name=job.name), metadata=auth)]
    assert states[-1] == stubs.job_pb2.SUCCEEDED
    logs = {}
    for chunk in jobs.TailLogs(stubs.job_service_pb2.TailLogsRequest(name=job.name), metadata=auth):
        key = (chunk.attempt, chunk.rank)
        assert chunk.offset == len(logs.get(key, b"")), "no byte lost, none repeated"
        logs[key] = logs.get(key, b"") + chunk.data
    assert set(logs) == {(1, 0), (1, 1)} and b"loss" in logs[1, 0]
    points = [p for r in jobs.WatchMetrics(stubs.job_service_pb2.WatchMetricsRequest(
        name=job.name, metrics=["loss"]), metadata=auth) for p in r.points]
    assert [p.step for p in points] == list(range(1, 13))

    bad = stubs.job_service_pb2.CreateJobRequest(spec=spec, request_id="plain-2")
    bad.spec.train.learning_rate = -1
    with pytest.raises(grpc.RpcError) as wrong:
        jobs.CreateJob(bad, metadata=auth)
    assert wrong.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(stubs, wrong.value).metadata["field"] == "train.learning_rate"
    bad.spec.train.learning_rate, bad.spec.kind = 1e-3, "rlhf"
    with pytest.raises(grpc.RpcError) as unbuilt:
        jobs.CreateJob(bad, metadata=auth)
    assert unbuilt.value.code() == grpc.StatusCode.UNIMPLEMENTED and "rlhf" in unbuilt.value.details()
    with pytest.raises(grpc.RpcError) as nobody:
        jobs.GetJob(stubs.job_service_pb2.GetJobRequest(name=job.name))
    assert nobody.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as unknown:
        jobs.GetJob(stubs.job_service_pb2.GetJobRequest(name="projects/default/jobs/none"), metadata=auth)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    assert error_info(stubs, unknown.value).domain == "trainyard"


def test_malformed_and_oversized_calls_are_refused_and_disturb_nobody(cluster):
    auth = [("authorization", f"Bearer {cluster.token()}")]
    # What gRPC itself answers to bytes that are no message of the method depends on its version.
    undecodable = (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
    for garbage, codes in ((b"\xff" * 100, undecodable), (b"\x0a\xff\xff\xff\x7f", undecodable),
                           (b"\0" * (80 << 20), (grpc.StatusCode.RESOURCE_EXHAUSTED,))):
        with grpc.insecure_channel(cluster.addresses["grpc"], options=[("grpc.max_send_message_length", -1)]) as channel:
            for method in ("JobService/CreateJob", "BlobService/FindMissing"):
                call = channel.unary_unary(f"/trainyard.v1.{method}", request_serializer=lambda b: b,
                                           response_deserializer=lambda b: b)
                with pytest.raises(grpc.RpcError) as refused:
                    call(garbage, metadata=auth)
                assert refused.value.code() in codes, (method, refused.value)
    with socket.create_connection(cluster.addresses["grpc"].rsplit(":", 1)) as stranger:
        stranger.sendall(b"GET / HTTP/1.0\r\n\r\n" + b"\xde\xad" * 1000)
        stranger.settimeout(10)
        try:
            while stranger.recv(4096):
                pass
        except ConnectionResetError:
            pass  # closed either way
    assert cluster.all_connected(), "the workers' sessions go on"
    assert cluster.run("list").returncode == 0


def test_health_and_reflection_answer(cluster):
    channel = grpc.insecure_channel(cluster.addresses["grpc"])
    auth = [("authorization", f"Bearer {cluster.token()}")]
    check = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=lambda b: b,
                                response_deserializer=lambda b: b)
    assert check(b"", metadata=auth) == b"\x08\x01"  # status: SERVING
    reflect = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                    request_serializer=lambda b: b, response_deserializer=lambda b: b)
    answer = next(iter(reflect(iter([b"\x3a\x00"]), metadata=auth)))  # list_services: ""
    assert b"trainyard.v1.JobService" in answer
    assert wait_for("a worker is listed", cluster.all_connected)
