"""A server that speaks TLS: by itself where its binary can, else behind a proxy."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import trustme

from tests.servers.process import free_port
from tests.servers.proxy import Proxy
from tests.servers.server import Server
from tests.servers.vendor import Vendor


class Papers(NamedTuple):
    """The files of a certificate for 127.0.0.1 and localhost, and of the authority that signed it."""

    key: Path
    certificate: Path
    authority: Path


def issue(directory: Path) -> Papers:
    """Make an authority of this test's own, and a certificate of it."""
    papers = Papers(directory / "key.pem", directory / "certificate.pem", directory / "authority.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(papers.authority)
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(papers.key)
    issued.cert_chain_pems[0].write_to_path(papers.certificate)
    return papers


class TlsServer:
    """A server, and the port on which TLS is spoken to it. Its plain port stays open for the tests' own clients."""

    def __init__(self, vendor: Vendor, directory: Path, config: Mapping[str, str | list[str]]) -> None:
        self.papers = issue(directory)
        self.port = 0
        self._proxy: Proxy | None = None
        speaks = {
            "tls-port": str(free_port()),
            "tls-cert-file": str(self.papers.certificate),
            "tls-key-file": str(self.papers.key),
            "tls-ca-cert-file": str(self.papers.authority),
            "tls-auth-clients": "no",
        }
        self.server = Server(vendor, directory, {**(speaks if vendor.has_tls else {}), **config})

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0?ca={self.authority}"

    @property
    def authority(self) -> Path:
        """The file of the authority that clients must be told to trust."""
        return self.papers.authority

    def start(self) -> None:
        self.server.start()
        if self.server.vendor.has_tls:
            self.port = int(str(self.server.config["tls-port"]))
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.papers.certificate, self.papers.key)
        self._proxy = Proxy(self.server.port, context=context)
        self._proxy.__enter__()
        self.port = self._proxy.port

    def kill(self) -> None:
        if self._proxy is not None:
            self._proxy.__exit__()
            self._proxy = None
        self.server.kill()

    def flush(self) -> None:
        self.server.flush()
