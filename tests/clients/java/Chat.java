import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.regex.Pattern;

/** Java's own HTTP client: no key, the provider's URL. `stream` as the first argument streams. */
public class Chat {
    private static final Pattern CONTENT = Pattern.compile("\"content\":\\s*\"([^\"]*)\"");

    public static void main(String[] arguments) throws Exception {
        boolean stream = arguments.length > 0 && arguments[0].equals("stream");
        String body = """
            {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does a weir do?"}], "stream": %s}
            """.formatted(stream);
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://api.openai.com/v1/chat/completions"))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofLines());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("status " + answer.statusCode());
        }
        answer.body().forEach(line -> {
            var contents = CONTENT.matcher(line);
            while (contents.find()) {
                System.out.print(contents.group(1));
            }
        });
        System.out.println();
    }
}
