"""anthropic-python as its README shows it. `stream` as the first argument streams."""

import sys

from anthropic import Anthropic

client = Anthropic()
messages = [{"role": "user", "content": "What does a weir do?"}]

if "stream" in sys.argv:
    with client.messages.stream(model="claude-sonnet-4-5", max_tokens=256, messages=messages) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print()
else:
    message = client.messages.create(model="claude-sonnet-4-5", max_tokens=256, messages=messages)
    print(message.content[0].text)
