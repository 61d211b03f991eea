"""Calls api.openai.com again and again on one connection until there is a file /tmp/stop, while a stream is open on another. Prints the status of an
answer that is another than the one before, with the code of an error, and at the end `streaming` if events still come. Whatever is cut ends it."""

import http.client
import json
import os
import ssl
import threading
import time

HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}
context = ssl.create_default_context()
context.set_alpn_protocols(["http/1.1"])


def ask(connection, model, stream):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "What does a weir do?"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), HEADERS)
    return connection.getresponse()


def opened():
    connection = http.client.HTTPSConnection("api.openai.com", context=context, timeout=60)
    connection.connect()
    return connection


events = 0


def count(stream):
    global events
    for line in stream:
        events += line.startswith(b"data: {")
    print("the stream has ended", flush=True)
    os._exit(1)


stream = ask(opened(), "mock-endless-slow", True)
if stream.status != 200:
    raise SystemExit(f"the stream: {stream.status}")
threading.Thread(target=count, args=[stream], daemon=True).start()

held = opened()
socket = held.sock
last = None
while not os.path.exists("/tmp/stop"):
    answer = ask(held, "gpt-4o-mini", False)
    body = json.loads(answer.read())
    status = str(answer.status)
    if answer.status != 200:
        status += " " + body["error"]["code"]
    if status != last:
        last = status
        print(last, flush=True)
    if last.startswith("421"):
        # Nobody answers for the host any more: the connection ends by it, and the next one is relayed.
        break
    if held.sock is not socket:
        raise SystemExit(f"the connection was closed by the answer {last}")
    time.sleep(0.02)

so_far = events
while events < so_far + 10:
    time.sleep(0.02)
print("streaming", flush=True)
os._exit(0)
