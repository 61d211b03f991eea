"""openai-python's responses API, then embeddings and models."""

from openai import OpenAI

client = OpenAI()
question = "What does a weir do?"
print(client.responses.create(model="gpt-4o-mini", input=question).output_text)
with client.responses.stream(model="gpt-4o-mini", input=question) as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="")
print()
print(client.embeddings.create(model="text-embedding-3-small", input=question).data[0].embedding)
print([model.id for model in client.models.list()])
