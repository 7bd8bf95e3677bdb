"""A peer of the first threat protocol, written from its description: checks a CryptoMesh node from outside.

    python3 peer.py HOST:PORT API_URL TOKEN

Needs `cryptography`, with which the published node signs and verifies. Two connections: events go both ways, are passed on and
never echoed; a forged one is not passed on; what the node signs verifies here, whatever characters it contains.
"""

import base64
import hashlib
import json
import socket
import struct
import sys
import time
import urllib.request
import uuid
from datetime import datetime, timezone

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=222)
FIELDS = ("source_ip", "threat_type", "severity", "timestamp", "reporter_pubkey")


def canonical(event, names):
    return json.dumps({name: event[name] for name in names}, sort_keys=True).encode()


class Reporter:
    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.key.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()

    def report(self, source, kind):
        event = {"source_ip": source, "threat_type": kind, "severity": "high",
                 "timestamp": time.strftime("%Y-%m-%d %H:%M:%S"), "reporter_pubkey": self.pem}
        event["id"] = hashlib.sha256(canonical(event, FIELDS)).hexdigest()
        signature = self.key.sign(canonical(event, FIELDS + ("id",)), PSS, hashes.SHA256())
        event["signature"] = base64.b64encode(signature).decode()
        return event


def verify(event):
    key = serialization.load_pem_public_key(event["reporter_pubkey"].encode())
    key.verify(base64.b64decode(event["signature"]), canonical(event, FIELDS + ("id",)), PSS, hashes.SHA256())
    assert event["id"] == hashlib.sha256(canonical(event, FIELDS)).hexdigest(), "the id is not that of the content"


class Link:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.say("HELLO", {})

    def say(self, kind, payload, name=None):
        now = datetime.now(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
        body = json.dumps({"type": kind, "id": name or str(uuid.uuid4()), "payload": payload, "timestamp": now}).encode()
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def read(self, count):
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            assert part, "the node closed the connection"
            parts += part
        return parts

    def event(self, patience=10):
        self.socket.settimeout(patience)
        while True:
            (length,) = struct.unpack(">I", self.read(4))
            body = self.read(length)
            message = json.loads(body)
            assert body == json.dumps(message).encode(), "not as Python writes it"
            assert list(message) == ["type", "id", "payload", "timestamp"], list(message)
            if message["type"] == "event":
                return message["payload"]


def main(address, url, token):
    one, other, reporter = Link(address), Link(address), Reporter()
    time.sleep(0.5)
    sent = reporter.report("198.51.100.23", "Accès “brute-force” \U0001f512 / \x7f")
    one.say("event", sent, sent["id"])
    assert other.event() == sent, "passed on unchanged"
    forged = dict(reporter.report("198.51.100.24", "forged"), severity="low")
    one.say("event", forged, forged["id"])
    body = json.dumps({"source_ip": "203.0.113.9", "threat_type": "scan — ünïcode \U0001f50d", "severity": "low"})
    request = urllib.request.Request(f"{url}/api/v1/intel/events", body.encode(), method="POST", headers={
        "authorization": f"Bearer {token}", "content-type": "application/json"})
    stored = json.load(urllib.request.urlopen(request))
    for link in (one, other):
        event = link.event()
        verify(event)
        assert event["id"] == stored["id"], "the forged event and the echo stay away"
    print("ok: both ways, verified, no echo, no forgery")


if __name__ == "__main__":
    main(*sys.argv[1:])
