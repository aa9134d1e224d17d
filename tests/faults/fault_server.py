"""A web server whose answers go wrong."""

from __future__ import annotations

import socket
import threading

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


class Server:
    """Serves one file; `fault` says how the next answers go wrong, None for not at all."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.fault: str | None = None
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        """Address of the file."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/net.pth"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
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
                self.requests += 1
                connection.recv(65536)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        size = len(self.content)
        match self.fault:
            case None:
                connection.sendall(HEAD % size + self.content)
            case "is cut off":
                connection.sendall(HEAD % size + self.content[: size // 2])
            case "stalls":
                connection.sendall(HEAD % size + self.content[: size // 2])
                while self.fault == "stalls" and not self._leave.wait(0.02):
                    pass
            case "is 404":
                connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            case "is another file":
                connection.sendall(HEAD % size + bytes(size))
            case _:
                raise ValueError(self.fault)
