// openai-node as its README shows it: no key, no URL. `stream` as the first argument streams.
import OpenAI from "openai";

const client = new OpenAI();
const messages = [{ role: "user", content: "What does a weir do?" }];

if (process.argv.includes("stream")) {
  const stream = await client.chat.completions.create({ model: "gpt-4o-mini", messages, stream: true });
  for await (const chunk of stream) {
    process.stdout.write(chunk.choices[0].delta.content ?? "");
  }
  console.log();
} else {
  const completion = await client.chat.completions.create({ model: "gpt-4o-mini", messages });
  console.log(completion.choices[0].message.content);
}
