import sys
from openai import OpenAI

client = OpenAI()
question = [{"role": "user", "content": "What does a weir do?"}]

if "--stream" in sys.argv:
    for chunk in client.chat.completions.create(model="gpt-4o", messages=question, stream=True):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()
else:
    answer = client.chat.completions.create(model="gpt-4o", messages=question)
    print(answer.choices[0].message.content)
