"""Certificates: the name is checked although the address is pinned, and each refusal says why."""

import datetime as dt
import ssl
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from calendar_pipeline.webhooks.client import Limits

NOW = dt.datetime.now(dt.UTC)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: str, key: Any, issuer: str, issuer_key: Any, *, days: int, authority: bool) -> Any:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=30))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    else:
        usage = x509.KeyUsage(*[False] * 5, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority() -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, _certificate("Test CA", key, "Test CA", key, days=30, authority=True)


@pytest.fixture
def served(authority: Any, tmp_path: Any) -> Any:
    def served(name: str, *, days: int = 30, self_signed: bool = False) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = ("Test CA", authority[0]) if not self_signed else (name, key)
        made = _certificate(name, key, issuer, signer, days=days, authority=False)
        chain, private = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, private)
        return context

    return served


@pytest.fixture
def trusting(hooks: Any, authority: Any) -> Any:
    """A worker that trusts the test's authority and finds every name on loopback."""
    context = ssl.create_default_context(cadata=authority[1].public_bytes(serialization.Encoding.PEM).decode())

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    return hooks.with_(tls=context, resolve=resolve)


def test_13_a_good_certificate_for_the_name_is_delivered_to(hooks: Any, served: Any, trusting: Any) -> None:
    endpoint = hooks.endpoint(served("hooks.example"))
    hooks.tell(hooks.subscribe(endpoint.url.replace("127.0.0.1", "hooks.example")))
    assert hooks.deliver(dispatch=trusting).delivered == 1
    assert endpoint.requests[0].headers["host"] == f"hooks.example:{endpoint.port}"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({"name": "other.example"}, "not valid for 'hooks.example'"),
        ({"name": "hooks.example", "days": -1}, "expired"),
        ({"name": "hooks.example", "self_signed": True}, "self-signed"),
    ],
    ids=["wrong name", "expired", "self-signed"],
)
def test_13_a_bad_certificate_is_a_failed_attempt_with_its_reason(
    hooks: Any, served: Any, trusting: Any, certificate: Any, reason: str
) -> None:
    endpoint = hooks.endpoint(served(**certificate))
    hooks.tell(hooks.subscribe(endpoint.url.replace("127.0.0.1", "hooks.example")))
    hooks.deliver(dispatch=trusting)
    [attempt] = hooks.attempts()
    assert attempt["error"] == "certificate"
    assert reason in attempt["excerpt"].replace("self signed", "self-signed")
    assert endpoint.requests == []


def test_13_garbage_in_place_of_tls_is_a_failed_attempt(hooks: Any, trusting: Any) -> None:
    endpoint = hooks.endpoint()
    hooks.tell(hooks.subscribe(endpoint.url.replace("http://127.0.0.1", "https://hooks.example")))
    hooks.deliver(dispatch=replace(trusting, limits=Limits(connect=dt.timedelta(seconds=0.5))))
    assert hooks.delivery()["last_error"] in ("tls", "connect", "timeout", "connect_timeout")
    assert endpoint.requests == []
