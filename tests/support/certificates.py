"""Certificates for tests of TLS: self-signed, their own CA, or a chain from a root."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def make_chain(directory: Path, address: str) -> tuple[list[Path], Path, Path]:
    """Write a root's, an intermediate's and a server's certificate, the chain that the server shows, and its key.

    Return the paths of the three, of the chain and of the key.
    """
    now = datetime.datetime.now(datetime.UTC)
    names = ["root", "intermediate", "server"]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    found: list[Path] = []
    for place, (name, key) in enumerate(zip(names, keys, strict=True)):
        above = max(0, place - 1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[above])]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=name != "server", path_length=None), critical=True)
        )
        if name == "server":
            alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(alternative, critical=False)
        found.append(directory / f"{name}.pem")
        certificate = builder.sign(keys[above], hashes.SHA256())
        found[-1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    chain, key_file = directory / "chain.pem", directory / "key.pem"
    chain.write_bytes(found[2].read_bytes() + found[1].read_bytes())
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(keys[2].private_bytes(serialization.Encoding.PEM, *private))
    return found, chain, key_file


def make_certificate(directory: Path, address: str, left: datetime.timedelta = DAY) -> tuple[Path, Path]:
    """Write certificate.pem and key.pem for an IP address; return their paths. `left`: when it ends."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + left)
        .add_extension(alternative, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return paths
