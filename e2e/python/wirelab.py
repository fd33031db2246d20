"""Wirelab as PyPI's pypomelo sees it, over TCP: plain, with a dictionary, and with schemas.

On Python 3 the library encodes no protobuf, and it does not find the routes of pushes that come as codes; so typed
requests are left out, and pushes where there is a dictionary go to routes that are not in it.

Usage: wirelab.py HOST PORT (plain | dict | proto) UID
"""

import sys

from blocking import BlockingClient

TYPED = {"u": 4294967295, "i": -2, "s": -300, "f": 1.5, "d": 0.1, "str": "hello 二", "nums": [0, 128, 16384]}


def main(host, port, configuration, uid):
    client = BlockingClient(host, port)
    assert (client.route_to_code is not None) == (configuration == "dict")
    assert (client.global_server_protos is not None) == (configuration == "proto")

    def ask(method, body):
        return client.ask(f"connector.testHandler.{method}", body)

    assert ask("echo", {"body": ["二", "😀", 1.5, None]}) == {"code": 200, "body": ["二", "😀", 1.5, None]}
    assert ask("fail", {}) == {"code": 500}
    client.send_notify("connector.testHandler.note", {"n": 7})
    assert ask("notes", {}) == {"code": 200, "notes": [7]}
    assert ask("bind", {"uid": uid}) == {"code": 200, "uid": uid}
    route = "onOther" if configuration == "dict" else "onPush"
    assert ask("push", {"route": route, "body": {"n": 1}}) == {"code": 200}
    assert client.pushed(route) == {"n": 1}
    if configuration == "proto":
        assert ask("push", {"route": "onProto", "body": TYPED}) == {"code": 200}
        assert client.pushed("onProto") == TYPED
    client.wait(lambda: 2 <= client.heartbeats)
    assert ask("kick", {"reason": "enough"}) == {"code": 200}
    client.wait_for_the_end()
    assert client.is_closed, "the library closes when it is kicked"

    silent = BlockingClient(host, port, is_beating=False)
    silent.wait_for_the_end()
    assert silent.heartbeats == 1 and not silent.is_closed, "the server closes, for want of beats"
    print(f"pypomelo, {configuration}: logged in, asked, was pushed to, beat, was kicked, timed out")


if __name__ == "__main__":
    main(*sys.argv[1:])
