"""Calls api.openai.com until there is a file /tmp/stop: on connections opened for each call, on ones that are kept, and streams. Prints `begun`,
and at the end what became of them, as JSON. Each failure is named."""

import http.client
import json
import os
import ssl
import threading
import time

HOST = "api.openai.com"
HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}
# Some seconds of events.
STREAM = "mock-slow-large-15000"

counted = {"calls": 0, "streams": 0, "failures": []}
lock = threading.Lock()
context = ssl.create_default_context()
context.set_alpn_protocols(["http/1.1"])
begun = threading.Barrier(9)


def ask(connection, model, stream):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "What does a weir do?"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    if answer.status != 200:
        raise Exception(f"{answer.status} {answer.read(300)!r}")
    return answer


def call(connection):
    json.loads(ask(connection, "gpt-4o-mini", False).read())


def stream(connection):
    last = b""
    for line in ask(connection, STREAM, True):
        last = line.strip() or last
    if last != b"data: [DONE]":
        raise Exception(f"a stream ended with {last!r}")


def load(name, act, keeps):
    connection = None
    first = True
    while not os.path.exists("/tmp/stop"):
        connection = connection or http.client.HTTPSConnection(HOST, context=context, timeout=60)
        at = time.strftime("%H:%M:%S")
        try:
            act(connection)
            with lock:
                counted[name] += 1
        except Exception as error:
            with lock:
                counted["failures"].append(f"{name} begun {at}, {time.strftime('%H:%M:%S')}: {type(error).__name__}: {error}")
            connection.close()
        if not keeps:
            connection.close()
            connection = None
        # The machine is for others too.
        time.sleep(0.05)
        if first:
            first = False
            begun.wait()


if __name__ == "__main__":
    threads = [threading.Thread(target=load, args=arguments) for arguments in 2 * [("calls", call, False)] + 2 * [("calls", call, True)] + 4 * [("streams", stream, False)]]
    for thread in threads:
        thread.start()
    begun.wait()
    print("begun", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(counted), flush=True)
