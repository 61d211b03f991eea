"""Opens a connection to api.openai.com, and one on which it says nothing yet. When there is a file /tmp/go, it goes on with the first until that is closed, then
with the other. Prints what comes of each call: the status, with the code of an error, and `closes` if the connection ends with it."""

import http.client
import json
import os
import socket
import ssl
import time

HOST = "api.openai.com"
HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}
context = ssl.create_default_context()
context.set_alpn_protocols(["http/1.1"])


def ask(connection, model):
    body = {"model": model, "messages": [{"role": "user", "content": "What does a weir do?"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), HEADERS)
    answer = connection.getresponse()
    error = json.loads(answer.read()).get("error", {})
    words = [str(answer.status), error.get("code", ""), "closes" if answer.will_close else ""]
    print(" ".join(word for word in words if word), flush=True)
    return answer.will_close


held = http.client.HTTPSConnection(HOST, context=context, timeout=60)
silent = socket.create_connection((HOST, 443), timeout=60)
ask(held, "gpt-4o-mini")
ask(held, "gpt-4o")
while not os.path.exists("/tmp/go"):
    time.sleep(0.02)
while not ask(held, "gpt-4o"):
    time.sleep(0.02)
try:
    context.wrap_socket(silent, server_hostname=HOST)
    print("opened by Weir", flush=True)
except ssl.SSLCertVerificationError:
    print("the provider's own certificate", flush=True)
