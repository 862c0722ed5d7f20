"""Real clients against the real server: npm and PyPI SDKs of Segment send, also through a proxy that loses answers;
aiosmtpd receives; a link is followed, a pixel is loaded.

Usage: drive.py SOJOURN WORKFOLDER. Ends with a line `N passed, N failed`.
"""

import email
import email.policy
import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import segment.analytics as analytics
from segment.analytics.client import Client
from aiosmtpd.controller import Controller

PATIENCE_S = 30
program, work = Path(sys.argv[1]), Path(sys.argv[2])
passed = failed = 0


def check(what, holds, shown=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
    print(("ok    " if holds else "FAIL  ") + what, "" if holds else shown)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mails:
    def __init__(self):
        self.received = []

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.received.append((envelope.rcpt_tos[0], message))
        return "250 taken"

    def to(self, address):
        return [message for to, message in self.received if to == address]


class Forgetful(BaseHTTPRequestHandler):
    """Hands a request on and loses the first answer: the client has to send again what is stored already."""

    seen = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        with urllib.request.urlopen(urllib.request.Request(base + self.path, body, headers), timeout=10) as answer:
            status, text = answer.status, answer.read()
        ids = [message["messageId"] for message in json.loads(gzip.decompress(body))["batch"]]
        self.seen.append((status, ids))
        if len(self.seen) == 1:
            status, text = 503, b"lost"
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def get(path):
    request = urllib.request.Request(base + path, headers={"Authorization": "Bearer dev-admin"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for(what):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            found = what()
            if found:
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    return None


data = work / "data"
shutil.rmtree(data, ignore_errors=True)
mails = Mails()
smtp = Controller(mails, hostname="127.0.0.1", port=free_port())
smtp.start()
port = free_port()
base = f"http://127.0.0.1:{port}"
config = work / "sojourn.toml"
config.write_text(
    f'[channels.email]\nhost = "127.0.0.1"\nport = {smtp.port}\ntls = "none"\nfrom = "Shop <shop@example.org>"\n'
)
server = subprocess.Popen(
    [program, "serve", "--dev", "--data", data, "--listen", f"127.0.0.1:{port}", "--config", config],
    env={"RUST_LOG": "warn"},
)
try:
    check("the server becomes ready", wait_for(lambda: get("/readyz")["ready"]))
    applied = subprocess.run([program, "apply", "examples", "--server", base], capture_output=True, text=True)
    check("the examples are applied", applied.returncode == 0, applied.stderr)

    node = subprocess.run(["node", "send.mjs", base], cwd=work, capture_output=True, text=True)
    check("@segment/analytics-node sends", node.returncode == 0, node.stderr)
    analytics.write_key = "dev-server"
    analytics.host = base
    analytics.gzip = True
    analytics.identify("python-1", {"email": "python-1@example.org", "first_name": "Pia"})
    analytics.track("python-1", "abandoned_cart", {"cart_id": "p1", "cart_total": 70.5})
    analytics.track("python-1", "abandoned_cart", {"cart_id": "p1"})
    analytics.flush()

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Forgetful)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    retrying = Client("dev-server", host=f"http://127.0.0.1:{proxy.server_port}", gzip=True)
    retrying.identify("python-2", {"email": "python-2@example.org", "first_name": "Rita"})
    retrying.track("python-2", "abandoned_cart", {"cart_id": "p2", "cart_total": 60})
    retrying.flush()
    retrying.join()
    proxy.shutdown()
    seen = Forgetful.seen
    check("the Python SDK sends again what it got no answer for", len(seen) >= 2 and seen[0] == seen[1], seen)
    check("each time it is taken", all(status == 200 for status, _ in seen), seen)

    for person, name, cart in [("node-1", "Nora", "n1"), ("python-1", "Pia", "p1"), ("python-2", "Rita", "p2")]:
        received = wait_for(lambda: mails.to(f"{person}@example.org"))
        check(f"{person} gets a mail over SMTP", received is not None)
        if not received:
            continue
        message = received[0]
        check(f"{person}'s mail has its subject", message["subject"] == f"You left something behind, {name}", message["subject"])
        check(f"{person}'s mail says which send it is", len(message["x-sojourn-send"] or "") == 32)
        html = message.get_body(("html",)).get_content()
        link = re.search(r'href="(http://[^"]+/t/c/[^"]+)"', html)
        pixel = re.search(r'src="(http://[^"]+/t/o/[^"]+)"', html)
        check(f"{person}'s link and pixel are signed", link is not None and pixel is not None, html)
        inside = get(f"/api/v1/profiles/user_id:{person}")["participants"]
        check(f"{person} waits for the mail to be opened", [one["step"] for one in inside] == ["opened"], inside)
        if person == "python-1":
            with urllib.request.urlopen(pixel.group(1), timeout=10) as answer:
                opened = (answer.status, answer.headers["content-type"], answer.read()[:6])
            check(f"{person}'s pixel is a picture", opened == (200, "image/gif", b"GIF89a"), opened)
        else:
            try:
                urllib.request.build_opener(NoRedirect).open(link.group(1), timeout=10)
                followed = None
            except urllib.error.HTTPError as answer:
                followed = (answer.code, answer.headers["location"])
            check(f"{person}'s link leads to the shop", followed == (302, f"https://shop.example/cart/{cart}"), followed)
        profile = get(f"/api/v1/profiles/user_id:{person}")
        check(f"that continues {person}'s journey to its end", profile["participants"] == [], profile)
        check(f"{person} entered once", [one["entries"] for one in profile["journeys"]] == [1], profile["journeys"])
        check(f"{person} got one mail only", len(mails.to(f"{person}@example.org")) == 1)

    books = wait_for(lambda: (b := get("/api/v1/books"))["triggers"].get("Something Unheard Of") and b)
    check("an unknown trigger is unmatched, not an error", books["triggers"]["Something Unheard Of"]["unmatched"] == 1, books)
    check("a bad item of a batch is rejected and counted", books["triggers"]["abandoned_cart"]["rejected"] == {"attribute": 1}, books)
    server.terminate()
    check("SIGTERM ends the server with 0", server.wait(timeout=PATIENCE_S) == 0)
finally:
    server.kill()
    smtp.stop()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
