use k8s_openapi::api::authentication::v1::UserInfo;

use super::*;

fn status(audiences: &[&str], user: &str, extra: &[(&str, &str)]) -> TokenReviewStatus {
    let extra = extra
        .iter()
        .map(|&(key, value)| (key.to_owned(), vec![value.to_owned()]))
        .collect();
    TokenReviewStatus {
        authenticated: Some(true),
        audiences: Some(audiences.iter().map(|&audience| audience.to_owned()).collect()),
        user: Some(UserInfo {
            username: Some(user.to_owned()),
            extra: Some(extra),
            ..UserInfo::default()
        }),
        ..TokenReviewStatus::default()
    }
}

const AGENT: &str = "system:serviceaccount:weir-system:weir-agent";
const BOUND: [(&str, &str); 2] = [(POD_NAME, "weir-agent-1"), (POD_UID, "uid-1")];

#[test]
fn an_agents_bound_token_names_its_pod() {
    let bound = bound_pod(&status(&["weir-controller"], AGENT, &BOUND), "weir-system").expect("an agent");
    assert_eq!(
        (bound.pod.as_str(), bound.uid.as_str()),
        ("weir-agent-1", "uid-1")
    );
    assert_eq!(bound.node, None);
}

#[test]
fn everybody_else_is_refused_with_the_reason() {
    let unknown = TokenReviewStatus {
        authenticated: Some(false),
        error: Some("invalid bearer token".to_owned()),
        ..TokenReviewStatus::default()
    };
    let silent = TokenReviewStatus {
        audiences: None,
        ..status(&[], AGENT, &BOUND)
    };
    let cases = [
        (
            unknown,
            "not valid for audience weir-controller (invalid bearer token)",
        ),
        (TokenReviewStatus::default(), "not valid"),
        (
            status(&["https://kubernetes.default.svc"], AGENT, &BOUND),
            "another audience",
        ),
        (silent, "another audience"),
        (
            status(
                &["weir-controller"],
                "system:serviceaccount:weir-system:default",
                &BOUND,
            ),
            "only system:serviceaccount:weir-system:weir-agent is given",
        ),
        (
            status(
                &["weir-controller"],
                "system:serviceaccount:other:weir-agent",
                &BOUND,
            ),
            "only system:serviceaccount:weir-system:weir-agent is given",
        ),
        (status(&["weir-controller"], AGENT, &[]), "not bound to a pod"),
        (
            status(&["weir-controller"], AGENT, &[(POD_NAME, "weir-agent-1")]),
            "not bound to a pod",
        ),
    ];
    for (status, wanted) in cases {
        let refusal = bound_pod(&status, "weir-system").expect_err(wanted).to_string();
        assert!(refusal.contains(wanted), "{refusal}");
    }
}

#[test]
fn a_tokens_end_is_read_from_it() {
    let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
    let end = expiry(&token(r#"{"aud":["weir-controller"],"exp":1700000000}"#));
    assert_eq!(
        end,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    );
    for bad in [
        "",
        "a",
        "a.b",
        "a.!!.c",
        &token("{}"),
        &token(r#"{"exp":-1}"#),
        &token("[]"),
    ] {
        assert_eq!(expiry(bad), None, "{bad}");
    }
}
