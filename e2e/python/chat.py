"""The chat as PyPI's pypomelo sees it, over TCP.

Its protobuf encoder does not work on Python 3, and the chat's requests need none.

Usage: chat.py GATE_HOST GATE_PORT ROOM
"""

import sys

from blocking import BlockingClient


def login(gate, name, room):
    """Asks the gate for a connector, and enters the room there."""
    client = BlockingClient(*gate)
    entry = client.ask("gate.gateHandler.queryEntry", {"uid": name})
    client.close()
    assert entry["code"] == 200, entry
    client = BlockingClient(entry["host"], entry["port"])
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
