#!/bin/sh
# openai 3.52.0: before each request, chat.completions.create() compares every key of every message with its types, to
# find names to translate (of which messages have none). Of a conversation of 400 messages that is many times the work of
# writing it as JSON, at each call, and on the event loop of an asynchronous client. Messages that are handed over in
# `extra_body` are sent as they are: the same bytes, without that work.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check openai==3.52.0
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import json
import threading
import time

import openai

bodies = []
ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "x",
          "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}]}


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = openai.OpenAI(api_key="x", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0)
call = {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
talk = [{"role": "user", "content": "go"}]
for _ in range(200):
    talk += [{"role": "assistant", "content": "a", "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "call_1", "content": "b"}]


def work(**how):
    """Seconds of this thread's processor for a call; the server has a thread of its own."""
    times = []
    for _ in range(9):
        began = time.thread_time()
        client.chat.completions.create(model="x", **how)
        times.append(time.thread_time() - began)
    return sorted(times)[4]


work(messages=talk)
plain, beside = work(messages=talk), work(messages=(), extra_body={"messages": talk})
began = time.thread_time()
for _ in range(9):
    json.dumps(talk)
floor = (time.thread_time() - began) / 9
print(f"openai {openai.__version__}: {1000 * plain:.1f} ms a call, {1000 * beside:.1f} ms with extra_body,"
      f" {1000 * floor:.2f} ms of json.dumps")
assert all(body["messages"] == talk for body in bodies)
assert plain > 3 * beside, "changed: it costs no more than what is sent beside it"
PYTHON
