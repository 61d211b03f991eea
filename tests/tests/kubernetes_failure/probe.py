"""Opens a connection to api.openai.com twenty times a second until there is a file /tmp/stop, and prints what became of each: `weir` (answered with the key that
only Weir has), `passed` (answered by the provider, which got no key), `refused`, or `cut` with the reason; and when it was begun, in seconds of CLOCK_MONOTONIC.

In plaintext, which Weir takes to the provider by TLS: so that what passes it can be answered at all, by a provider that the pod does not know."""

import http.client
import json
import os
import threading
import time

BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a weir do?"}]})
HEADERS = {"content-type": "application/json", "authorization": "Bearer none", "x-probe": os.environ["HOSTNAME"]}
lock = threading.Lock()


def probe():
    begun = time.monotonic()
    connection = http.client.HTTPConnection("api.openai.com", timeout=120)
    try:
        connection.request("POST", "/v1/chat/completions", BODY, HEADERS)
        answer = connection.getresponse()
        answer.read()
        outcome = {200: "weir", 401: "passed"}.get(answer.status, f"cut {answer.status}")
    except ConnectionRefusedError:
        outcome = "refused"
    except Exception as error:
        outcome = f"cut {type(error).__name__} {error}"
    with lock:
        print(f"{begun:.3f} {outcome}", flush=True)


threads = []
while not os.path.exists("/tmp/stop"):
    threads.append(threading.Thread(target=probe))
    threads[-1].start()
    time.sleep(0.05)
for thread in threads:
    thread.join()
