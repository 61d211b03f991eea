"""openai-python as its README shows it: no key, no URL. `stream` as the first argument streams."""

import sys

from openai import OpenAI

client = OpenAI()
messages = [{"role": "user", "content": "What does a weir do?"}]

if "stream" in sys.argv:
    for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True):
        # Unguarded, as in the README: a chunk without choices that nobody asked for would end this program.
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
else:
    completion = client.chat.completions.create(model="gpt-4o-mini", messages=messages)
    print(completion.choices[0].message.content)
