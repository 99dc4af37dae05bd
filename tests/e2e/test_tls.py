"""TLS and mTLS by flags: coordinator, worker and command line, from a job's submit to its end; and who is refused."""

import json
import signal
import subprocess

import pytest
from cluster import BIN, Cluster, wait_for


class Certificates:
    """An authority, and what it signed for 127.0.0.1."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                      "-subj", "/CN=trainyard-test-ca", "-keyout", "ca-key.pem", "-out", "ca.pem")
        self.ca = folder / "ca.pem"

    def _openssl(self, *words):
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def issue(self, name):
        """--tls-cert and --tls-key of a new certificate."""
        (self.folder / "san.cnf").write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
                      "-days", "1", "-extfile", "san.cnf", "-out", f"{name}.pem")
        return ["--tls-cert", self.folder / f"{name}.pem", "--tls-key", self.folder / f"{name}-key.pem"]


class TlsCluster(Cluster):
    """A coordinator and a worker started by hand; `client_flags` is what the command line needs to be heard."""

    def __init__(self, home, certificates, mutual):
        super().__init__(home, workers=1)
        trust = ["--tls-ca", certificates.ca]
        self.server_flags = certificates.issue("coordinator")
        self.worker_flags = self.client_flags = trust
        if mutual:
            self.server_flags += ["--tls-client-ca", certificates.ca]
            self.worker_flags = trust + certificates.issue("worker")
            self.client_flags = trust + certificates.issue("client")

    def start(self, program, *words):
        log = open(self.home / f"{program}.log", "wb")
        process = subprocess.Popen([str(w) for w in (BIN / program, *words)], stdout=log, stderr=log,
                                   env=self.environment)
        log.close()
        self.daemons.append(process)

    def __enter__(self):
        self.home.mkdir(parents=True)
        self.daemons = []
        self.start("trainyard-coordinator", "--home", self.home, "serve", "--grpc", "127.0.0.1:0", "--http",
                   "127.0.0.1:0", *self.server_flags)
        wait_for("the coordinator's addresses", (self.home / "coordinator/addresses.json").exists)
        self.start("trainyard-worker", "--id", "worker-0", "--coordinator", self.addresses["grpc"], "--token-file",
                   self.home / "tokens/worker", "--home", self.home / "worker", "--blobs", self.home / "blobs",
                   "--http", "127.0.0.1:0", "--slots", "1", "--drain", *self.worker_flags)
        return self

    def __exit__(self, kind, value, trace):
        for process in reversed(self.daemons):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        if kind is not None:
            print(self.describe_logs())

    def run(self, *words, flags=None, **options):
        return super().run(*(self.client_flags if flags is None else flags), *words, **options)

    def list_with(self, *flags):
        return self.run("list", flags=flags, check=False)


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mtls"])
def test_a_job_runs_over_tls_and_strangers_are_refused(tmp_path, mutual):
    certificates = Certificates(tmp_path / "certificates")
    strangers = Certificates(tmp_path / "strangers")
    with TlsCluster(tmp_path / "home", certificates, mutual) as cluster:
        job_id = cluster.submit(cluster.write_job(steps=6, ranks=1))
        assert int(cluster.wait_for_success(job_id)["step"]) == 6
        workers = json.loads(cluster.run("worker", "list", "-o", "json").stdout)["workers"]
        assert [w["state"] for w in workers] == ["CONNECTED"]

        for flags in ([], ["--tls-ca", strangers.ca]):  # plain text; another authority
            refused = cluster.list_with(*flags)
            assert refused.returncode == 5 and "no answer" in refused.stderr, refused
        trust = ["--tls-ca", certificates.ca]
        without = cluster.list_with(*trust)
        assert without.returncode == (5 if mutual else 0), without
        if mutual:
            assert cluster.list_with(*trust, *strangers.issue("stranger")).returncode == 5
        half = cluster.list_with(*trust, "--tls-cert", certificates.ca)
        assert half.returncode == 2 and "key" in half.stderr


def test_plain_text_beyond_loopback_is_refused(tmp_path):
    def start(*flags):
        return subprocess.run([BIN / "trainyard-coordinator", "--home", tmp_path / "home", "serve", "--grpc", "0.0.0.0:0",
                               "--http", "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=30)
    refused = start()
    assert refused.returncode == 1 and "TLS" in refused.stderr
    missing = start("--tls-cert", tmp_path / "none.pem", "--tls-key", tmp_path / "none.pem")
    assert missing.returncode == 1 and "none.pem" in missing.stderr
