#!/usr/bin/env python3
"""An example controller for relays (docs/controller.md), using only Python's standard library.

It places each stream on relays by what their heartbeats say: a stream that is published at one relay goes on to the one that has
the least to do, and from there on to the next, --hops in all; a player at a relay without the stream has it pulled from one that
has it. Where a relay is lost, another one takes its place. What it knows it keeps in memory: after a restart it learns the
relays by their next heartbeats, and what runs goes on meanwhile.

    examples/controller.py --listen 127.0.0.1:9000 --token-file token --hops 2
    rr_server --port 1935 --self rtmp://10.0.0.5:1935 --controller http://127.0.0.1:9000 --controller-token token
"""

import argparse
import hmac
import http.server
import json
import threading
import time

# A body is at most as long as the longest heartbeat.
MAX_BODY = 2 << 20
# A relay that has missed this many heartbeats is gone.
MISSED = 3


class Places:
    """The known relays, and the relays through which each stream goes."""

    def __init__(self, hops, clock=time.monotonic):
        self.hops, self.clock = hops, clock
        self.relays = {}  # address: its last heartbeat, and the time when it counts as gone
        self.routes = {}  # (app, key): the relays through which the stream goes, the publisher's relay first

    def heartbeat(self, beat):
        relay = beat["self"]
        if relay:
            until = self.clock() + MISSED * (beat["next_ms"] or 10000) / 1000
            self.relays[relay] = {"until": until, "load": beat["load"], "streams": beat["streams"]}
        now = self.clock()
        self.relays = {relay: known for relay, known in self.relays.items() if known["until"] > now}
        # A stream is over when none of its relays has it any more.
        there = {(s["app"], s["key"]) for known in self.relays.values() for s in known["streams"]}
        self.routes = {
            stream: (route, at) for stream, (route, at) in self.routes.items() if stream in there or now - at < 60
        }

    def next(self, question):
        app, key, relay = question["app"], question["key"], question["self"]
        tried = {url.rsplit("/" + app, 1)[0] for url in question["tried"]}
        why = question["why"]
        if why == "publish" or (why == "target_lost" and question["role"] == "target"):
            return self.relay(app, key, relay, tried, why == "publish")
        if why in ("play", "target_lost"):
            return self.pull(app, key, relay, tried)
        return {"action": "wait", "ttl_ms": 60000}

    def relay(self, app, key, relay, tried, begins):
        route, _ = self.routes.get((app, key), ([], 0))
        # The relays behind this one are chosen again.
        route = route[: route.index(relay) + 1] if relay in route else [relay]
        to = None
        if len(route) <= self.hops:
            to = self.least_busy(other for other in self.relays if other not in route and other not in tried)
        self.routes[app, key] = (route + [to] if to else route, self.clock())
        if to:
            return self.named("relay", [to], app, key)
        # If a relay is lost and there is no other, the lost one may be back.
        return {"action": "relay"} if begins and len(route) > self.hops else {"action": "wait", "ttl_ms": 1000}

    def pull(self, app, key, relay, tried):
        def has(other):
            streams = self.relays[other]["streams"]
            return any(s["app"] == app and s["key"] == key and s["state"] == "IN_PROGRESS" for s in streams)

        route, _ = self.routes.get((app, key), ([], 0))
        others = [other for other in self.relays if other != relay and other not in tried]
        origin = self.least_busy(other for other in others if other in route or has(other))
        return self.named("pull", [origin], app, key) if origin else {"action": "wait", "ttl_ms": 1000}

    def least_busy(self, relays):
        """Load reports come late, so the number of streams planned for a relay counts first."""

        def busy(relay):
            load = self.relays[relay]["load"]
            routes = sum(relay in route for route, _ in self.routes.values())
            return routes, load["kbps_out"], load["sessions"]

        return min(relays, key=busy, default=None)

    @staticmethod
    def named(action, relays, app, key):
        # With a separate key, the whole path of the address is the application.
        return {"action": action, "urls": [f"{relay}/{app}" for relay in relays], "config": {"key": key}}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of relays, one at a time."""

    places, token, lock = None, None, threading.Lock()
    timeout = 10

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not self.may_ask():
            return self.answer(401, {"error": "no such token"})
        if length > MAX_BODY:
            return self.answer(413, {"error": "too long"})
        try:
            asked = json.loads(self.rfile.read(length))
            with self.lock:
                if self.path == "/v1/next":
                    return self.answer(200, self.places.next(asked))
                if self.path == "/v1/heartbeat":
                    self.places.heartbeat(asked)
                    return self.answer(200, {})
        except (KeyError, TypeError, ValueError) as error:
            return self.answer(400, {"error": repr(error)})
        return self.answer(404, {"error": "no such path"})

    def do_GET(self):
        """Answers with what is known, for people."""
        if not self.may_ask():
            return self.answer(401, {"error": "no such token"})
        with self.lock:
            routes = {"/".join(stream): route for stream, (route, _) in self.places.routes.items()}
            return self.answer(200, {"relays": self.places.relays, "routes": routes})

    def may_ask(self):
        given = self.headers.get("Authorization") or ""
        return not self.token or hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode())

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Requests contain stream keys, so they are not logged."""


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--listen", default="127.0.0.1:9000", metavar="ADDRESS:PORT")
    options.add_argument("--token-file", metavar="FILE", help="the token that relays must send (default: none)")
    options.add_argument("--hops", type=int, default=1, help="number of further relays in the chain of each stream")
    options = options.parse_args()
    host, port = options.listen.rsplit(":", 1)
    Handler.places = Places(options.hops)
    if options.token_file:
        with open(options.token_file, encoding="ascii") as file:
            Handler.token = file.read().strip()
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    print(f"controller on http://{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
