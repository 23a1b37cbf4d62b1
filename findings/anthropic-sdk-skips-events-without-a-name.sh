#!/bin/sh
# anthropic 2.11.0: a stream of server-sent events that carry their type in the data alone, with no `event:` line (which
# the field is optional in, and as many compatible servers and proxies write them), is read to its end without any event
# and without an error. The same data with `event:` lines is a whole answer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check anthropic==2.11.0
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import json
import threading

import anthropic

EVENTS = [
    {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [],
     "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]
named = False


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for event in EVENTS:
            head = f"event: {event['type']}\n" if named else ""
            self.wfile.write(f"{head}data: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = anthropic.Anthropic(api_key="x", base_url=f"http://127.0.0.1:{server.server_port}", max_retries=0)


def seen():
    stream = client.messages.create(model="x", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=True)
    return [event.type for event in stream]


print("anthropic", anthropic.__version__)
without = seen()
named = True
with_names = seen()
print("without event lines:", without)
print("with event lines:   ", with_names)
assert without == [], "changed: events without a name are read"
assert with_names == [event["type"] for event in EVENTS]
PYTHON
