"""aiohttp against the URL itself, with the default SSL context. `stream` as the first argument streams."""

import asyncio
import json
import sys

import aiohttp

URL = "https://api.openai.com/v1/chat/completions"


async def main() -> None:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a weir do?"}]}
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        if "stream" in sys.argv:
            async with session.post(URL, json=body | {"stream": True}) as answer:
                async for line in answer.content:
                    data = line.strip().removeprefix(b"data: ")
                    if data and data != b"[DONE]":
                        print(json.loads(data)["choices"][0]["delta"].get("content") or "", end="")
            print()
        else:
            async with session.post(URL, json=body) as answer:
                print((await answer.json())["choices"][0]["message"]["content"])


asyncio.run(main())
