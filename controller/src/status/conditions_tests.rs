use super::*;
use crate::status::programmed::NodeRejection;

fn object() -> ObjectName {
    ObjectName {
        kind: "AIBackend",
        namespace: "shop".to_owned(),
        name: "openai".to_owned(),
    }
}

fn good() -> Outcome {
    Outcome {
        accepted: Ok(()),
        resolved_refs: Ok(()),
    }
}

fn problem(field: &str, message: &str) -> Problem {
    Problem {
        source: String::new(),
        line: 0,
        object: None,
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

fn programmed(taken: usize, needed: usize) -> Programmed {
    Programmed {
        taken,
        needed,
        rejections: Vec::new(),
    }
}

fn said<'a>(sayings: &'a [Saying], type_: &str) -> (&'static str, &'a str) {
    let saying = sayings
        .iter()
        .find(|saying| saying.type_ == type_)
        .expect("it is said");
    (saying.status, saying.message.as_str())
}

#[test]
fn programmed_says_how_many_nodes() {
    for (taken, needed, status, begins) in [
        (2, 2, "True", "2 of 2 nodes"),
        (1, 2, "False", "1 of 2 nodes; those that are missing"),
        (0, 0, "True", "0 of 0 nodes: no intercepted pod"),
    ] {
        let sayings = sayings(&object(), &good(), &programmed(taken, needed));
        let (is, message) = said(&sayings, "Programmed");
        assert_eq!(is, status);
        assert!(message.starts_with(begins), "{message}");
    }
}

#[test]
fn a_refusal_names_the_node_and_what_it_said() {
    let rejection = NodeRejection {
        node: "n1".to_owned(),
        message: "provider: this agent does not know `new`: upgrade the agent".to_owned(),
    };
    let programmed = Programmed {
        taken: 1,
        needed: 2,
        rejections: vec![rejection],
    };
    let sayings = sayings(&object(), &good(), &programmed);
    let (status, message) = said(&sayings, "Programmed");
    assert_eq!(status, "False");
    assert_eq!(
        message,
        "1 of 2 nodes; node n1 has refused it: provider: this agent does not know `new`: upgrade the agent"
    );
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let outcome = Outcome {
        accepted: Err(vec![problem("spec.hosts[0]", "`a b` is not a DNS name")]),
        resolved_refs: Err(vec![problem(
            "spec.auth.secretRef.name",
            "there is no Secret shop/key",
        )]),
    };
    let sayings = sayings(&object(), &outcome, &programmed(0, 0));
    assert_eq!(
        said(&sayings, "Accepted"),
        ("False", "spec.hosts[0]: `a b` is not a DNS name")
    );
    assert_eq!(
        said(&sayings, "ResolvedRefs"),
        ("False", "spec.auth.secretRef.name: there is no Secret shop/key")
    );
    assert_eq!(
        said(&sayings, "Programmed"),
        ("False", "no node is given it: see Accepted")
    );
}

#[test]
fn of_a_policy_that_denies_because_it_cannot_be_read_the_status_says_so() {
    let policy = ObjectName {
        kind: "AIPolicy",
        ..object()
    };
    let outcome = Outcome {
        accepted: Err(vec![problem("spec.models.denied[0]", "`gpt 4o` has a space")]),
        ..good()
    };
    let sayings = sayings(&policy, &outcome, &programmed(2, 2));
    let (status, message) = said(&sayings, "Programmed");
    assert_eq!(status, "False");
    assert!(
        message.starts_with("2 of 2 nodes; in its place they are given one that denies all"),
        "{message}"
    );
}

#[test]
fn what_is_said_already_is_not_said_again() {
    let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).expect("a time"));
    let first = conditions(
        &[],
        &sayings(&object(), &good(), &programmed(1, 2)),
        Some(1),
        early,
    )
    .expect("new");
    assert_eq!(
        conditions(
            &first,
            &sayings(&object(), &good(), &programmed(1, 2)),
            Some(1),
            late
        ),
        None
    );

    let second = conditions(
        &first,
        &sayings(&object(), &good(), &programmed(2, 2)),
        Some(1),
        late,
    )
    .expect("changed");
    let time = |conditions: &[Condition], type_: &str| {
        let found = conditions.iter().find(|condition| condition.type_ == type_);
        found.expect("there").last_transition_time.0
    };
    assert_eq!(time(&second, "Programmed"), late);
    assert_eq!(time(&second, "Accepted"), early, "its status has not changed");

    let third = conditions(
        &second,
        &sayings(&object(), &good(), &programmed(2, 2)),
        Some(2),
        late,
    );
    assert!(third.is_some(), "another generation was observed");
}

#[test]
fn that_agents_are_missing_is_no_news_while_they_are_on_their_way() {
    let at = |programmed: &Programmed| sayings(&object(), &good(), programmed);
    let now = Timestamp::UNIX_EPOCH;
    let present = conditions(&[], &at(&programmed(2, 2)), Some(1), now).expect("something to say");
    let in_haste = at(&programmed(0, 2));
    assert_eq!(said(&in_haste, "Programmed").0, "False");
    let stands = while_agents_return(in_haste.clone(), &present, Some(1));
    assert_eq!(said(&stands, "Programmed"), ("True", "2 of 2 nodes"));
    assert_eq!(
        while_agents_return(in_haste.clone(), &present, Some(2)),
        in_haste,
        "another spec"
    );
    let mut refused = programmed(1, 2);
    refused.rejections.push(NodeRejection {
        node: "n1".to_owned(),
        message: "no".to_owned(),
    });
    assert_eq!(while_agents_return(at(&refused), &present, Some(1)), at(&refused));
}

#[test]
fn what_refers_to_nothing_is_of_no_use_however_many_nodes_have_it() {
    let unresolved = Outcome {
        resolved_refs: Err(vec![problem("spec.auth", "there is no Secret")]),
        ..good()
    };
    let policy = ObjectName {
        kind: "AIPolicy",
        ..object()
    };
    for (object, needed, expected) in [
        (object(), 0, "False"),
        (object(), 2, "False"),
        (policy.clone(), 0, "False"),
        // One of its targets is there.
        (policy, 2, "True"),
    ] {
        let sayings = sayings(&object, &unresolved, &programmed(needed, needed));
        let (status, message) = said(&sayings, "Programmed");
        assert_eq!(status, expected, "{object}: {message}");
        assert_eq!(
            message.contains("see ResolvedRefs"),
            expected == "False",
            "{message}"
        );
    }
    let mut refused = programmed(0, 1);
    refused.rejections.push(NodeRejection {
        node: "n1".to_owned(),
        message: "no".to_owned(),
    });
    let sayings = sayings(&object(), &unresolved, &refused);
    assert!(said(&sayings, "Programmed").1.contains("node n1 has refused it"));
}
