"""openai-python's asynchronous client. `stream` as the first argument streams."""

import asyncio
import sys

from openai import AsyncOpenAI


async def main() -> None:
    async with AsyncOpenAI() as client:
        messages = [{"role": "user", "content": "What does a weir do?"}]
        if "stream" in sys.argv:
            stream = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
            async for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
            print()
        else:
            completion = await client.chat.completions.create(model="gpt-4o-mini", messages=messages)
            print(completion.choices[0].message.content)


asyncio.run(main())
