//! OpenAI's responses API (<https://platform.openai.com/docs/api-reference/responses>).

use serde_json::Value;

use super::behaviour::Behaviour;
use super::reply::Reply;
use super::text::{Answer, Tokens, answering_model, prompt, quoted};

fn usage(tokens: Tokens) -> String {
    format!(
        r#"{{"input_tokens":{},"input_tokens_details":{{"cached_tokens":{}}},"output_tokens":{},"output_tokens_details":{{"reasoning_tokens":{}}},"total_tokens":{}}}"#,
        tokens.input,
        tokens.cached,
        tokens.output,
        tokens.reasoning,
        tokens.total(),
    )
}

fn message(status: &str, content: &str) -> String {
    format!(
        r#"{{"id":"msg_mock1","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#
    )
}

fn part(text: &str) -> String {
    format!(
        r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{}}}"#,
        quoted(text)
    )
}

fn response(model: &str, status: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_mock1","object":"response","created_at":1760000000,"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":{},"output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"store":true,"temperature":1.0,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#,
        quoted(&answering_model(model))
    )
}

/// `POST /v1/responses`.
pub(super) fn create(request: &Value, model: &str, behaviour: &Behaviour) -> Reply {
    let answer = Answer::to(&prompt(request), behaviour);
    let output = message("completed", &part(&answer.text()));
    let completed = response(model, "completed", &output, &usage(answer.tokens));
    if request.get("stream").and_then(Value::as_bool) != Some(true) {
        return behaviour.bend(Reply::json(200, completed), None);
    }
    let mut sequence = 0;
    let mut events = Vec::new();
    let mut event = |name: &str, fields: &str| {
        let data = format!(r#"{{"type":"{name}","sequence_number":{sequence},{fields}}}"#);
        sequence += 1;
        events.push(behaviour.event(Some(name), &data));
    };
    let begun = format!(r#""response":{}"#, response(model, "in_progress", "", "null"));
    event("response.created", &begun);
    event("response.in_progress", &begun);
    let item = message("in_progress", "");
    event(
        "response.output_item.added",
        &format!(r#""output_index":0,"item":{item}"#),
    );
    let at = r#""item_id":"msg_mock1","output_index":0,"content_index":0"#;
    event(
        "response.content_part.added",
        &format!(r#"{at},"part":{}"#, part("")),
    );
    for piece in &answer.pieces {
        event(
            "response.output_text.delta",
            &format!(r#"{at},"delta":{},"logprobs":[]"#, quoted(piece)),
        );
    }
    let text = answer.text();
    event(
        "response.output_text.done",
        &format!(r#"{at},"text":{},"logprobs":[]"#, quoted(&text)),
    );
    event(
        "response.content_part.done",
        &format!(r#"{at},"part":{}"#, part(&text)),
    );
    event(
        "response.output_item.done",
        &format!(r#""output_index":0,"item":{output}"#),
    );
    event("response.completed", &format!(r#""response":{completed}"#));
    behaviour.bend(Reply::events(events), None)
}
