"""A TLS 1.3 peer that updates its keys and asks for the same in return, again and again: ``PORT CERTIFICATE KEY``.

`ssl` has no word for it, so OpenSSL is asked directly. Ends when the listener does.
"""

from __future__ import annotations

import ctypes
import socket
import ssl
import sys

# `struct PySSLSocket` of CPython's Modules/_ssl.c: object header, weak reference to the socket, SSL*
_SSL_OFFSET = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
_UPDATE_REQUESTED = 1


def main(port: str, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    openssl = ctypes.CDLL("libssl.so.3")
    openssl.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    openssl.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    with context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)))) as secured:
        pointer = ctypes.c_void_p.from_address(id(secured._sslobj) + _SSL_OFFSET).value
        while openssl.SSL_key_update(pointer, _UPDATE_REQUESTED) == 1 and openssl.SSL_do_handshake(pointer) == 1:
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
