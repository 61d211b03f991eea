// openai-go as its README shows it: no key, no URL. `stream` as the first argument streams.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
)

func main() {
	client := openai.NewClient()
	parameters := openai.ChatCompletionNewParams{
		Model:    openai.ChatModelGPT4oMini,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("What does a weir do?")},
	}
	if len(os.Args) > 1 && os.Args[1] == "stream" {
		stream := client.Chat.Completions.NewStreaming(context.Background(), parameters)
		for stream.Next() {
			fmt.Print(stream.Current().Choices[0].Delta.Content)
		}
		if err := stream.Err(); err != nil {
			log.Fatal(err)
		}
		fmt.Println()
		return
	}
	completion, err := client.Chat.Completions.New(context.Background(), parameters)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(completion.Choices[0].Message.Content)
}
