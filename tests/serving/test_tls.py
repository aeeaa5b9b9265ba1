"""TLS as `batchguard serve` offers it, with certificates made here: who gets in, and who does not."""

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from benchmarks.serving.process import Served
from features.errors import BatchguardError
from serving.server import Listen
from tests.serving.served import served

pytestmark = pytest.mark.slow
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Issues certificates into a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def path(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, usage: x509.ObjectIdentifier) -> tuple[Path, Path]:
        """Files of a certificate for loopback and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = (
            batch_events(name, self.certificate.subject, key)
            .add_extension(loopback, critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        cert, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
        return cert, private


def batch_events(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def authority(folder: Path, name: str) -> Authority:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                          key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                          decipher_only=False)  # fmt: skip
    made = (
        batch_events(name, named(name), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return Authority(folder, key, made)


@pytest.fixture(scope="module")
def plants_own(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours") / "ca", "Plant")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory) -> Authority:
    return authority(tmp_path_factory.mktemp("theirs") / "ca", "Stranger")


def client(trusted: Authority, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted.path)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def answer(endpoint: Served, context: ssl.SSLContext | None) -> bytes:
    """What a client gets to see of `/health/live`; nothing where the connection is closed on it."""
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=5) as plain, contextlib.ExitStack() as stack:
        asked = (
            plain if context is None else stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        )
        asked.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        found = b""
        while part := asked.recv(65536):
            found += part
        return found


def refused(endpoint: Served, context: ssl.SSLContext | None) -> bool:
    """Whether a client gets no HTTP answer at all: TLS 1.3 tells of a missing certificate only at the first read."""
    try:
        return b"HTTP" not in answer(endpoint, context)
    except (ssl.SSLError, ConnectionError):
        return True


def test_https_is_spoken_and_plain_http_is_not(small_plant, tmp_path, plants_own, strangers) -> None:
    cert, key = plants_own.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
    tls = {"tls_cert": cert, "tls_key": key}
    with served(tmp_path, small_plant, tls=tls, trust=client(plants_own)) as endpoint:
        assert answer(endpoint, client(plants_own)).startswith(b"HTTP/1.1 200")
        assert refused(endpoint, None)
        with pytest.raises(ssl.SSLCertVerificationError):
            answer(endpoint, client(strangers))


def test_a_client_needs_a_certificate_of_the_authority_that_is_named(
    small_plant, tmp_path, plants_own, strangers
) -> None:
    cert, key = plants_own.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
    known = client(plants_own, plants_own.issue("mes", ExtendedKeyUsageOID.CLIENT_AUTH))
    tls = {"tls_cert": cert, "tls_key": key, "tls_client_ca": plants_own.path}
    with served(tmp_path, small_plant, tls=tls, trust=known) as endpoint:
        assert answer(endpoint, known).startswith(b"HTTP/1.1 200")
        assert refused(endpoint, client(plants_own))
        assert refused(endpoint, client(plants_own, strangers.issue("mes", ExtendedKeyUsageOID.CLIENT_AUTH)))
        assert refused(endpoint, None)
        assert answer(endpoint, known).startswith(b"HTTP/1.1 200")  # and goes on


def test_files_that_cannot_be_meant_are_refused_before_anything_starts(plants_own, tmp_path) -> None:
    cert, key = plants_own.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
    _, other = plants_own.issue("other", ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "nonsense.pem").write_text("nonsense")
    Listen(tls_cert=cert, tls_key=key, tls_client_ca=plants_own.path).check()
    for listen, said in (
        (Listen(tls_client_ca=plants_own.path), "needs --tls-cert"),
        (Listen(tls_cert=cert), "go together"),
        (Listen(tls_cert=cert, tls_key=tmp_path / "none"), "no such file"),
        (Listen(tls_cert=cert, tls_key=other), "cannot be used"),
        (Listen(tls_cert=tmp_path / "nonsense.pem", tls_key=key), "cannot be used"),
        (Listen(tls_cert=cert, tls_key=key, tls_client_ca=tmp_path / "nonsense.pem"), "cannot be used"),
    ):
        with pytest.raises(BatchguardError, match=said):
            listen.check()
