"""Python requests against the URL itself. `stream` as the first argument streams."""

import json
import sys

import requests

URL = "https://api.openai.com/v1/chat/completions"
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a weir do?"}]}

if "stream" in sys.argv:
    with requests.post(URL, json=body | {"stream": True}, stream=True) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            data = line.removeprefix(b"data: ")
            if data and data != b"[DONE]":
                print(json.loads(data)["choices"][0]["delta"].get("content") or "", end="")
    print()
else:
    answer = requests.post(URL, json=body)
    answer.raise_for_status()
    print(answer.json()["choices"][0]["message"]["content"])
