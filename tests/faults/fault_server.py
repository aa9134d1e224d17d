"""A web server that answers wrongly, in the way that it is told."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class Server:
    """Serves one file; `fault` says how the next answers go wrong, None for not at all."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fault: str | None = None
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/net.pth"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        with socket.create_connection(self._socket.getsockname()):
            pass
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if self._leave.is_set():
                    return
                self.asked += 1
                connection.recv(65536)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        length = b"Content-Length: %d\r\n\r\n" % len(self.content)
        half = self.content[: len(self.content) // 2]
        match self.fault:
            case None:
                connection.sendall(HEAD + length + self.content)
            case "is cut off":
                connection.sendall(HEAD + length + half)
            case "is cut off in a chunk":
                chunk = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(self.content)
                connection.sendall(HEAD + chunk + half)
            case "is reset":
                connection.sendall(HEAD + length + half)
                # Closed at once and with what is under way thrown away: the other side gets a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "stalls":
                connection.sendall(HEAD + length + half)
                while self.fault == "stalls" and not self._leave.wait(0.02):
                    pass
            case "is no HTTP":
                connection.sendall(b"nonsense\r\n\r\n")
            case "is 404" | "is 500":
                connection.sendall(b"HTTP/1.1 %s No\r\nContent-Length: 0\r\n\r\n" % self.fault[-3:].encode())
            case "is a page of HTML":
                page = b"<html>Please log in.</html>"
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(page) + page)
            case "is another file":
                connection.sendall(HEAD + length + bytes(len(self.content)))
            case _:
                raise ValueError(self.fault)
