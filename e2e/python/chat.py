"""The chat as PyPI's pypomelo sees it, over TCP.

The library's codecs and its connection logic are used as they are. Its socket class needs an old tornado, so the bytes
are moved here. Its protobuf encoder does not work on Python 3, and the chat's requests need none.

Usage: chat.py GATE_HOST GATE_PORT ROOM
"""

import socket
import sys
import time

from pypomelo.client import Client
from pypomelo.protocol import Protocol

TIMEOUT = 15
BEAT_AFTER = 1


class ChatClient(Client):
    """One connection, read by whoever waits for something."""

    def __init__(self, host, port):
        super().__init__(self)
        self.is_connected = False
        self.heartbeats = 0
        self.pushes = []
        self.answers = {}
        self.socket = socket.create_connection((host, int(port)), TIMEOUT)
        self.send_sync()
        self.wait(lambda: self.is_connected)

    # What the library asks of a connection.

    def send(self, data):
        self.socket.sendall(data)

    def close(self):
        self.socket.close()

    # What the library tells its handler.

    def on_connected(self, client, user):
        self.is_connected = True

    def on_heartbeat(self, client):
        self.heartbeats += 1
        time.sleep(BEAT_AFTER)  # the server answers each beat at once
        self.send_heartbeat()

    def on_push(self, client, route, body):
        self.pushes.append((route, body))

    # What the chat needs.

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
            self.read_package()

    def read_package(self):
        head = self.read(4)
        package = Protocol.unpack(head)
        if package.length:
            package.append(self.read(package.length))
        self.on_protocol(package)

    def read(self, count):
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            assert chunk, "the server closed the connection"
            data += chunk
        return data


def login(gate, name, room):
    """Asks the gate for a connector, and enters the room there."""
    client = ChatClient(*gate)
    entry = client.ask("gate.gateHandler.queryEntry", {"uid": name})
    client.close()
    assert entry["code"] == 200, entry
    client = ChatClient(entry["host"], entry["port"])
    client.users = client.ask("connector.entryHandler.enter", {"username": name, "rid": room})["users"]
    return client


def main(host, port, room):
    gate = (host, port)
    py = login(gate, "py", room)
    assert py.users == ["py"], py.users
    ai = login(gate, "艾", room)
    assert sorted(ai.users) == ["py", "艾"], ai.users
    assert py.pushed("onAdd") == {"route": "onAdd", "user": "艾"}

    def say(who, content, target):
        return who.ask("chat.chatHandler.send", {"rid": room, "content": content, "from": "", "target": target})

    assert say(py, "你好 😀", "*") == {}
    for listener in (py, ai):
        assert listener.pushed("onChat") == {"msg": "你好 😀", "from": "py", "target": "*"}
    assert say(ai, "psst", "py") == {}
    assert py.pushed("onChat") == {"msg": "psst", "from": "艾", "target": "py"}
    assert say(py, "anyone?", "nobody") == {"code": 500}
    py.wait(lambda: 3 <= py.heartbeats)
    ai.close()
    assert py.pushed("onLeave") == {"route": "onLeave", "user": "艾"}
    py.close()
    print("pypomelo: logged in, talked, beat, left")


if __name__ == "__main__":
    main(*sys.argv[1:])
