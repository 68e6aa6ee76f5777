"""A company's key as the operator holds it (PKCS#12): it signs here, and never leaves this process."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from pyhanko.keys import load_certs_from_pemder_data
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from demo.console import UnexpectedError, expect


class CompanyKey:
    """The private key with its certificate and chain."""

    def __init__(self, path: Path, password: str) -> None:
        try:
            bundle = pkcs12.load_pkcs12(path.read_bytes(), password.encode())
        except (OSError, ValueError) as error:
            raise UnexpectedError(f"cannot open the key file {path}: {error}") from error
        expect(isinstance(bundle.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey), "an RSA or EC key", path)
        expect(bundle.cert is not None, "a certificate in the key file", path)
        assert isinstance(bundle.key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        assert bundle.cert is not None
        self._key = bundle.key
        self.certificate: x509.Certificate = bundle.cert.certificate
        self._chain = [entry.certificate for entry in bundle.additional_certs]

    @property
    def pem_chain(self) -> str:
        """The certificate and its issuers, leaf first."""
        return "".join(c.public_bytes(Encoding.PEM).decode() for c in (self.certificate, *self._chain))

    def sign(self, message: bytes) -> str:
        """Base64 of RSA PKCS#1 v1.5 or ECDSA over the SHA-256 of the message."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            signature = self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        else:
            signature = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        return base64.b64encode(signature).decode()

    def sign_login(self, text: str, origin: str) -> str:
        """Sign a login challenge after checking that it is one: a login must never sign anything else.

        Raises UnexpectedError if the text is not ``yunku-login:v1``, our origin, a nonce and a time to come.
        """
        lines = text.split("\n")
        expect(len(lines) == 4 and lines[0] == "yunku-login:v1", "a login text of four lines", lines)
        expect(lines[1] == origin, f"a login text for {origin}", lines[1])
        expect(len(lines[2]) >= 16, "a nonce", lines[2])
        expires = datetime.fromisoformat(lines[3])
        expect(expires > datetime.now(UTC), "a challenge that has not expired", lines[3])
        return self.sign(text.encode())

    def root(self) -> x509.Certificate:
        """The self-signed certificate of the chain. Raises UnexpectedError if the file holds none."""
        for certificate in self._chain:
            if certificate.issuer == certificate.subject:
                return certificate
        raise UnexpectedError("the key file holds no root certificate")

    def validate_with_pyhanko(self, sealed: bytes) -> str:
        """Judge every signature of a sealed PDF against the root; returns the signer's name.

        Raises UnexpectedError unless each is intact, trusted, and covers what it must.
        """
        ((root,), others) = (self._asn1([self.root()]), self._asn1(self._chain))
        context = ValidationContext(trust_roots=[root], other_certs=others, allow_fetching=False)
        signatures = PdfFileReader(BytesIO(sealed), strict=True).embedded_regular_signatures
        expect(len(signatures) == 1, "one seal", len(signatures))
        status = validate_pdf_signature(signatures[0], signer_validation_context=context)
        expect(status.intact and status.valid and status.trusted, "a valid, trusted seal", status.summary())
        expect(status.bottom_line, "a seal that pyHanko accepts", status.summary())
        return str(status.signing_cert.subject.native["common_name"])

    @staticmethod
    def _asn1(certificates: list[x509.Certificate]) -> list[object]:
        pem = b"".join(c.public_bytes(Encoding.PEM) for c in certificates)
        return list(load_certs_from_pemder_data(pem))


def validate_with_pdfsig(sealed: bytes) -> str:
    """Judge a sealed PDF with poppler's pdfsig; returns what it says of the signature, or why it didn't run.

    Raises UnexpectedError if pdfsig is there and finds no valid signature over the whole file.
    """
    if shutil.which("pdfsig") is None:
        return "pdfsig (poppler-utils) is not installed here: not asked"
    with tempfile.TemporaryDirectory(prefix="yunku-demo-") as folder:
        path = Path(folder) / "sealed.pdf"
        path.write_bytes(sealed)
        run = subprocess.run(["pdfsig", "-nocert", str(path)], capture_output=True, text=True, timeout=60, check=False)
    expect("Signature is Valid." in run.stdout, "a signature that pdfsig calls valid", run.stdout + run.stderr)
    expect("Total document signed" in run.stdout, "a signature over the total document", run.stdout)
    return "Signature is Valid, total document signed"
