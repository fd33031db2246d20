"""PyPI's pypomelo over a TCP socket that is read by whoever waits for something.

The library's codecs and its connection logic are used as they are. Its socket class needs an old tornado, so the bytes
are moved here.
"""

import socket
import time

from pypomelo.client import Client
from pypomelo.protocol import Protocol

TIMEOUT = 15
BEAT_AFTER = 1


class BlockingClient(Client):
    """One connection."""

    def __init__(self, host, port, is_beating=True):
        super().__init__(self)
        self.is_connected = False
        self.is_closed = False
        self.is_beating = is_beating
        self.heartbeats = 0
        self.pushes = []
        self.socket = socket.create_connection((host, int(port)), TIMEOUT)
        self.send_sync()
        self.wait(lambda: self.is_connected)

    # What the library asks of a connection.

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.is_closed = True
        self.socket.close()

    # What the library tells its handler.

    def on_connected(self, client, user):
        self.is_connected = True
        self.user = user

    def on_heartbeat(self, client):
        self.heartbeats += 1
        if self.is_beating:
            time.sleep(BEAT_AFTER)  # the server answers each beat at once
            self.send_heartbeat()

    def on_push(self, client, route, body):
        self.pushes.append((route, body))

    # What tests need.

    def ask(self, route, body):
        """Requests, and waits for the answer."""
        answers = []
        self.send_request(route, body, lambda client, route, request, response: answers.append(response))
        self.wait(lambda: answers)
        return answers[0]

    def pushed(self, route):
        """The next push to this route."""
        found = lambda: [body for to, body in self.pushes if to == route]
        self.wait(found)
        body = found()[0]
        self.pushes.remove((route, body))
        return body

    def wait(self, is_done):
        """Reads until `is_done`, and beats meanwhile."""
        deadline = time.monotonic() + TIMEOUT
        while not is_done():
            assert time.monotonic() < deadline, "nothing came in time"
            assert self.read_package(), "the server closed the connection"

    def wait_for_the_end(self):
        """Reads until the server closes."""
        while self.read_package():
            pass

    def read_package(self):
        """Whether there was one to read."""
        head = self.read(4)
        if not head:
            return False
        package = Protocol.unpack(head)
        if package.length:
            package.append(self.read(package.length))
        self.on_protocol(package)
        return not self.is_closed

    def read(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                break
            data += chunk
        return data
