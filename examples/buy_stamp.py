#!/usr/bin/env python3
"""Buys stamps at a post office, by its own description of its calls (GET /v1/openapi.json) and nothing of Farthing's.

    pip install PyNaCl blake3
    buy_stamp.py KEYFILE https://b.example/                  makes the key where there is none; prints account and balance
    buy_stamp.py KEYFILE https://b.example/ bob@b.example    buys a stamp that pays for a letter to bob@b.example

Of the stamp it prints one JSON object: its tags as they stand in a letter, but for those of the cancellation, and
"secret", the holder's key, with which it is cancelled. Whoever has that can use the stamp.
"""

import base64
import json
import os
import struct
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import blake3
import nacl.signing


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def octets(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def account_key(path):
    """The account's key: its owner is whoever has this file."""
    try:
        with open(path, "rb") as file:
            return nacl.signing.SigningKey(file.read())
    except FileNotFoundError:
        key = nacl.signing.SigningKey.generate()
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(bytes(key))
            os.fsync(file.fileno())
        return key


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


class Office:
    def __init__(self, url, key):
        self.key = key
        self.about = get(urllib.parse.urljoin(url, ".well-known/postage"))
        self.calls = get(self.about["openapi"])
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in self.calls["paths"].items()
            for method, operation in item.items()
            if isinstance(operation, dict)
        }

    def call(self, name, query=None, body=None):
        method, target, operation = self.operations[name]
        if query:
            target += "?" + urllib.parse.urlencode(query)
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.calls["servers"][0]["url"] + target, data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if operation.get("security"):
            date = str(int(time.time()))
            lines = [method, target, self.about["office"], date]
            signed = b"postage-request-v1\0" + "".join(line + "\n" for line in lines).encode()
            signed += blake3.blake3(data or b"").digest()
            request.add_header("Postage-Account", b64(bytes(self.key.verify_key)))
            request.add_header("Postage-Date", date)
            request.add_header("Postage-Signature", b64(self.key.sign(signed).signature))
        # The same order again is charged once, so trouble on the way is no reason to give up.
        for pause in (1, 4, None):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code not in (408, 429, 503) or pause is None:
                    raise SystemExit(f"{error.code}: {json.load(error)['detail']}") from None
                time.sleep(min(int(error.headers.get("Retry-After", pause)), 30))
            except urllib.error.URLError as error:
                if pause is None:
                    raise SystemExit(f"the office cannot be reached: {error.reason}") from None
                time.sleep(pause)

    def buy(self, recipient):
        quote = self.call("quote", query={"to": recipient})
        audience = quote["to"].rpartition("@")[2]
        holder, number = nacl.signing.SigningKey.generate(), os.urandom(16)
        k = bytes(holder.verify_key)
        wish = {"id": b64(number), "k": b64(k)}
        sold = self.call("buyStamps", body={"audience": audience, "value": quote["micros"], "stamps": [wish]})

        def text(s):
            return struct.pack(">H", len(s)) + s.encode()

        stamp = b"postage-stamp-v1\0" + text(self.about["office"]) + text(sold["s"]) + number
        stamp += struct.pack(">Q", quote["micros"]) + text(quote["currency"]) + text(audience)
        stamp += struct.pack(">Q", sold["x"]) + k
        keys = {key["selector"]: key["public"] for key in self.about["keys"]}
        # Raises when the office sold something else than was ordered.
        nacl.signing.VerifyKey(octets(keys[sold["s"]])).verify(stamp, octets(sold["b"][0]))
        return {
            "v": "1", "i": self.about["office"], "s": sold["s"], "id": wish["id"], "n": quote["micros"],
            "c": quote["currency"], "d": audience, "x": sold["x"], "k": wish["k"], "b": sold["b"][0],
            "secret": b64(bytes(holder)),
        }


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    office = Office(sys.argv[2], account_key(sys.argv[1]))
    if len(sys.argv) == 4:
        print(json.dumps(office.buy(sys.argv[3])))
    else:
        print(json.dumps({name: office.call("account")[name] for name in ("account", "balance")}))


main()
