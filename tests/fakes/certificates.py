"""A certificate authority for one test, made with the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """Issues server certificates into `folder`; `ca_file` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_file = folder / "ca.pem"
        self._openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=Test authority",
            "-keyout", "ca.key", "-out", "ca.pem",
        )  # fmt: skip

    def server(
        self, *, address: str = "127.0.0.1", days: int = 2, asks_who: bool = False
    ) -> ssl.SSLContext:
        """A context for a server at an IP address; negative `days` have expired.

        With `asks_who` it wants a certificate of this authority from its clients.
        """
        certificate, key = self.issue(f"server-{address}-{days}", address=address, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if asks_who:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def issue(self, name: str, *, address: str = "127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """A certificate and its key, as PEM files."""
        (self._folder / "extensions").write_text(f"subjectAltName=IP:{address}\n")
        self._openssl(
            "req", *_KEY, "-subj", "/CN=server", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", str(days), "-extfile", "extensions", "-out", f"{name}.pem",
        )  # fmt: skip
        return self._folder / f"{name}.pem", self._folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)
