"""TLS to upstreams: what is trusted, who we are, and what went wrong in words that show no address."""

from __future__ import annotations

import errno
import os
import ssl
from functools import lru_cache

from aigateway.errors import ServerError
from aigateway.transport.protocol import TLS
from aigateway.transport.sockets import SCARCE, out_of_files

# X509_V_ERR_* of OpenSSL
_CERTIFICATES = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed and not trusted",
    19: "its certificate is from an issuer that is not trusted",
    20: "its certificate is from an issuer that is not trusted",
    21: "its certificate is from an issuer that is not trusted",
    23: "its certificate has been revoked",
    62: "its certificate is for another host",
    64: "its certificate is for another host",
}
_REASONS = (
    (("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"), "it does not speak TLS there"),
    (("CERTIFICATE_REQUIRED",), "it asks for a client certificate"),
    (("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS"), "it offers no TLS version that is accepted here"),
    (("HANDSHAKE_FAILURE",), "it offers no cipher that is accepted here, or it asks for a client certificate"),
    (("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED"), "it refused the client certificate"),
    (("UNRECOGNIZED_NAME",), "it knows no host of that name"),
)  # fmt: skip


def context_of(tls: TLS) -> ssl.SSLContext:
    """What connections to an upstream are encrypted with. Reads files: not for the event loop.

    Raises ServerError for a file that cannot be used.
    """
    return _context(tls, _environment(), tuple(_changed(path) for path in (tls.ca, tls.cert, tls.key)))


def proxy_context(tls: TLS) -> ssl.SSLContext:
    """The same for a proxy: the system's trust and the custom CA, and no client certificate."""
    context = ssl.create_default_context()
    _load_ca(context, tls.ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def fault(error: ssl.SSLError) -> str:
    """Why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, "its certificate could not be verified")
    reason = error.reason or ""
    for parts, words in _REASONS:
        if any(part in reason for part in parts):
            return words
    return "the other side broke it off"


@lru_cache(64)
def _context(tls: TLS, environment: tuple[str, str], changed: tuple[int, ...]) -> ssl.SSLContext:  # noqa: ARG001 - they are the key of the cache
    """Providers with the same settings share one: the system's trust alone takes half a megabyte and 20 ms."""
    if tls.ca is None:
        context = ssl.create_default_context()
        if out_of_files():  # then it trusts nobody, and would be kept
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load_ca(context, tls.ca)
    if tls.cert is not None:
        try:
            context.load_cert_chain(tls.cert, tls.key, password="")
        except OSError as error:
            if error.errno in SCARCE:
                raise
            raise _unusable("cert", "a certificate and its key, unencrypted") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_ca(context: ssl.SSLContext, path: str | None) -> None:
    if path is not None:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            if error.errno in SCARCE:
                raise
            raise _unusable("ca", "certificates of issuers") from error


def _unusable(option: str, what: str) -> ServerError:
    return ServerError(
        f"The file that `tls.{option}` of the provider names cannot be read, or does not hold {what} in PEM.",
        code="bad_tls_file",
    )


def _environment() -> tuple[str, str]:
    return os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")


def _changed(path: str | None) -> int:
    try:
        return 0 if path is None else os.stat(path).st_mtime_ns  # noqa: PTH116 - asked for at every connection
    except OSError:
        return 0
