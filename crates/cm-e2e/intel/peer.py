"""A node of the first threat protocol, written from its description, which does as it is told on standard input.

    python3 peer.py [--discovery ADDRESS PORT]

Needs `cryptography`, with which the published node signs and verifies. It behaves as that one does: events that are known are left out, those of a
key below -10 too; what verifies is kept, counts one for its key and is passed on to every connection but the one that brought it; what does not costs its
key three and is kept with a flag. Each line on standard input is a JSON object with `do`; each is answered with one line. With `--discovery` it asks and
answers by datagrams, to that address and port.
"""

import argparse
import base64
import hashlib
import json
import socket
import struct
import sys
import threading
import time
import uuid
from datetime import datetime, timezone

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

MGF = padding.MGF1(hashes.SHA256())
FIELDS = ("source_ip", "threat_type", "severity", "timestamp", "reporter_pubkey")
WRAPPER = ["type", "id", "payload", "timestamp"]
EVENT = ["id", "source_ip", "threat_type", "severity", "timestamp", "reporter_pubkey", "signature"]


def canonical(event, names):
    return json.dumps({name: event[name] for name in names}, sort_keys=True).encode()


def verifies(event):
    try:
        key = serialization.load_pem_public_key(event["reporter_pubkey"].encode())
        signature = base64.b64decode(event["signature"])
        key.verify(signature, canonical(event, FIELDS + ("id",)), padding.PSS(MGF, 222), hashes.SHA256())
        return True
    except (InvalidSignature, ValueError, TypeError):
        return False


def framed(kind, payload, name=None):
    now = datetime.now(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
    body = json.dumps({"type": kind, "id": name or str(uuid.uuid4()), "payload": payload, "timestamp": now}).encode()
    return struct.pack(">I", len(body)) + body


class Peer:
    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()
        self.lock = threading.Lock()
        self.sockets, self.events, self.reputation = [], {}, {}
        self.frames, self.hellos, self.odd, self.calls = 0, 0, [], 0
        self.listener = socket.create_server(("0.0.0.0", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            self.join(self.listener.accept()[0])

    def dial(self, host, port):
        self.join(socket.create_connection((host, port), timeout=10))

    def join(self, connection):
        connection.settimeout(None)
        with self.lock:
            self.sockets.append(connection)
            connection.sendall(framed("HELLO", {}))
        threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while True:
                (length,) = struct.unpack(">I", self.read(connection, 4))
                body = self.read(connection, length)
                with self.lock:
                    self.message(connection, body)
        except (OSError, EOFError, ValueError):
            pass
        with self.lock:
            self.sockets.remove(connection)
        connection.close()

    @staticmethod
    def read(connection, count):
        parts = b""
        while len(parts) < count:
            part = connection.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return parts

    def message(self, connection, body):
        message = json.loads(body)
        if body != json.dumps(message).encode() or list(message) != WRAPPER:
            self.odd.append("not as Python writes it: " + body.decode(errors="replace"))
        if message["type"] == "HELLO":
            self.hellos += 1
        elif message["type"] == "event":
            self.frames += 1
            if list(message["payload"]) != EVENT or message["id"] != message["payload"]["id"]:
                self.odd.append(f"members of an event: {list(message['payload'])}")
            self.event(connection, message["payload"])

    def event(self, connection, event):
        reporter = event["reporter_pubkey"]
        if event["id"] in self.events or self.reputation.get(reporter, 0) < -10:
            return
        valid = verifies(event)
        self.events[event["id"]] = dict(event, valid=valid)
        self.reputation[reporter] = self.reputation.get(reporter, 0) + (1 if valid else -3)
        if valid:
            self.pass_on(event, connection)

    def pass_on(self, event, but=None):
        for other in [other for other in self.sockets if other is not but]:
            other.sendall(framed("event", event, event["id"]))

    def report(self, source, kind, salt=222):
        event = {"source_ip": source, "threat_type": kind, "severity": "high",
                 "timestamp": time.strftime("%Y-%m-%d %H:%M:%S"), "reporter_pubkey": self.pem}
        event = {"id": hashlib.sha256(canonical(event, FIELDS)).hexdigest(), **event}
        signature = self.key.sign(canonical(event, FIELDS + ("id",)), padding.PSS(MGF, salt), hashes.SHA256())
        return dict(event, signature=base64.b64encode(signature).decode())

    def discover(self, address, port):
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT, socket.SO_BROADCAST):
            self.udp.setsockopt(socket.SOL_SOCKET, option, 1)
        # On loopback the answers come to whoever bound the port: only asking is of use there.
        self.udp.bind(("0.0.0.0", 0 if address.startswith("127.") else port))
        self.everybody, self.name = (address, port), str(uuid.uuid4())
        threading.Thread(target=self.listen_to_datagrams, daemon=True).start()

    def call(self, kind):
        self.udp.sendto(json.dumps({"type": kind, "node_id": self.name, "tcp_port": self.port}).encode(), self.everybody)

    def listen_to_datagrams(self):
        while True:
            datagram, (host, _) = self.udp.recvfrom(2048)
            said = json.loads(datagram)
            if said["node_id"] == self.name:
                continue
            with self.lock:
                self.calls += 1
            if said["type"] == "PING":
                self.call("PONG")
            try:
                self.dial(host, said["tcp_port"])
            except OSError:
                pass

    def told(self, line):
        do = line["do"]
        if do == "dial":
            self.dial(line["host"], line["port"])
        elif do == "ping":
            self.call("PING")
        elif do in ("report", "forge"):
            event = self.report(line["source"], line["kind"], line.get("salt", 222))
            if do == "forge":
                event = dict(event, severity="low")
                event["reporter_pubkey"] = line.get("victim", event["reporter_pubkey"])
            with self.lock:
                self.pass_on(event)
            return event
        elif do == "count":
            return {"port": self.port, "events": len(self.events)}
        elif do != "state":
            raise ValueError(do)
        with self.lock:
            return {"port": self.port, "pem": self.pem, "sockets": len(self.sockets), "frames": self.frames,
                    "hellos": self.hellos, "odd": self.odd, "calls": self.calls, "events": list(self.events.values()),
                    "reputation": self.reputation}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--discovery", nargs=2, metavar=("ADDRESS", "PORT"))
    arguments = arguments.parse_args()
    peer = Peer()
    if arguments.discovery:
        peer.discover(arguments.discovery[0], int(arguments.discovery[1]))
    for line in sys.stdin:
        print(json.dumps(peer.told(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
