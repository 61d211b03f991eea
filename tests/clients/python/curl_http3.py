"""libcurl with HTTP/3 (curl_cffi), told to begin with it. What libcurl does goes to stderr. `stream` as the first argument streams."""

import json
import sys

from curl_cffi import CurlHttpVersion, requests

URL = "https://api.openai.com/v1/chat/completions"
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a weir do?"}]}

with requests.Session(http_version=CurlHttpVersion.V3, debug=True) as session:
    if "stream" in sys.argv:
        with session.stream("POST", URL, json=body | {"stream": True}) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                data = line.removeprefix(b"data: ")
                if data and data != b"[DONE]":
                    print(json.loads(data)["choices"][0]["delta"].get("content") or "", end="")
        print()
    else:
        answer = session.post(URL, json=body)
        answer.raise_for_status()
        print(answer.json()["choices"][0]["message"]["content"])
