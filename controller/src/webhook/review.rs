//! AdmissionReviews: the API server's question, and our answer. It is always yes; whoever can't be helped is told so by a warning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use thiserror::Error;

use super::mutate::{self, Injection};
use crate::names::MIRROR_ANNOTATION;

/// Why a question can't be answered at all.
#[derive(Debug, Error)]
pub enum ReviewError {
    /// It is no JSON.
    #[error("the body is no AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no `request` with a `uid`, or is of a version that is not known.
    #[error("the body is no AdmissionReview of admission.k8s.io/v1 with a request")]
    Shape,
}

/// Answers one AdmissionReview. `injection` says what pods of a namespace are given; `None`: they stay as they are.
pub fn answer(
    question: &[u8],
    injection: impl Fn(&str, &Json) -> Option<Injection>,
) -> Result<Vec<u8>, ReviewError> {
    let review: Json = serde_json::from_slice(question)?;
    let request = &review["request"];
    let (Some(uid), "admission.k8s.io/v1") = (
        request["uid"].as_str(),
        review["apiVersion"].as_str().unwrap_or_default(),
    ) else {
        return Err(ReviewError::Shape);
    };
    let namespace = request["namespace"].as_str().unwrap_or_default();
    let pod = &request["object"];
    // A kubelet's account of a static pod is nobody's request: the pod runs already, and its account may name no ConfigMap.
    let is_mirror = pod["metadata"]["annotations"].get(MIRROR_ANNOTATION).is_some();
    let patch = match injection(namespace, pod).filter(|_| !is_mirror) {
        None => Vec::new(),
        Some(injection) => match (
            request["operation"].as_str().unwrap_or_default(),
            request["subResource"].as_str().unwrap_or_default(),
        ) {
            ("CREATE", "") => mutate::new_pod(pod, &injection),
            ("UPDATE", "ephemeralcontainers") => {
                mutate::ephemeral_containers(pod, &request["oldObject"], &injection)
            }
            _ => Vec::new(),
        },
    };
    let mut response = json!({"uid": uid, "allowed": true});
    if !patch.is_empty() {
        response["patchType"] = "JSONPatch".into();
        response["patch"] = STANDARD.encode(serde_json::to_vec(&patch)?).into();
    }
    let answer =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(serde_json::to_vec(&answer)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use weir_api::FailurePolicy;

    use super::*;

    fn injection(namespace: &str, _: &Json) -> Option<Injection> {
        (namespace == "shop").then(|| Injection {
            image: "weir:1".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            failure_policy: FailurePolicy::Open,
            limit: "30s".to_owned(),
            providers: Vec::new(),
        })
    }

    fn ask(request: Json) -> Json {
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let answer = answer(review.to_string().as_bytes(), injection).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    #[test]
    fn a_pod_that_is_created_is_allowed_and_patched() {
        let answer = ask(
            json!({"uid": "1", "operation": "CREATE", "namespace": "shop", "object": {"spec": {"containers": [{"name": "a"}]}}}),
        );
        let response = &answer["response"];
        assert_eq!(
            (&response["uid"], &response["allowed"]),
            (&json!("1"), &json!(true))
        );
        let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let patch: Json = serde_json::from_slice(&patch).unwrap();
        assert!(!patch.as_array().unwrap().is_empty());
    }

    #[test]
    fn whatever_else_is_allowed_as_it_is() {
        let pod = json!({"spec": {"containers": [{"name": "a"}]}});
        let mut mirror = pod.clone();
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "9a7b"});
        for request in [
            json!({"uid": "1", "operation": "CREATE", "namespace": "other", "object": pod}),
            json!({"uid": "1", "operation": "CREATE", "namespace": "shop", "object": mirror}),
            json!({"uid": "1", "operation": "UPDATE", "namespace": "shop", "object": pod}),
            json!({"uid": "1", "operation": "DELETE", "namespace": "shop"}),
            json!({"uid": "1", "operation": "CREATE", "subResource": "binding", "namespace": "shop", "object": {}}),
        ] {
            assert_eq!(ask(request)["response"], json!({"uid": "1", "allowed": true}));
        }
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"1"}}"#,
        ] {
            assert!(answer(body.as_bytes(), injection).is_err(), "{body}");
        }
    }
}
