//! What an object's status says: a pure function of what became of it and of who has taken it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use weir_api::{ObjectName, Outcome, Problem};

use super::programmed::Programmed;

/// A message is for a person; the API server takes 32 KiB.
const MESSAGE_CHARACTERS: usize = 1024;

/// What is to be said of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The condition's type.
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word for programs.
    pub reason: &'static str,
    /// One line for people.
    pub message: String,
}

/// What is to be said of an object, by what became of it and of how many nodes have it.
pub fn sayings(object: &ObjectName, outcome: &Outcome, programmed: &Programmed) -> Vec<Saying> {
    let accepted = match &outcome.accepted {
        Ok(()) => say("Accepted", "True", "Accepted", "it is valid".to_owned()),
        Err(problems) => say("Accepted", "False", "Invalid", in_one_line(object, problems)),
    };
    let resolved = match &outcome.resolved_refs {
        Ok(()) => say(
            "ResolvedRefs",
            "True",
            "ResolvedRefs",
            "what it refers to is there".to_owned(),
        ),
        Err(problems) => say(
            "ResolvedRefs",
            "False",
            "RefNotResolved",
            in_one_line(object, problems),
        ),
    };
    // Without its key or its authority a backend answers with errors; a policy binds those of its targets that are there.
    let is_of_use = outcome.resolved_refs.is_ok() || (object.kind == "AIPolicy" && programmed.needed > 0);
    let programmed = match (outcome.accepted.is_err(), programmed.needed) {
        (false, needed) if !is_of_use && programmed.rejections.is_empty() => {
            let message = format!(
                "{} of {needed} nodes; it is of no use yet: see ResolvedRefs",
                programmed.taken
            );
            say("Programmed", "False", "RefNotResolved", message)
        }
        (false, _) => say_programmed(programmed),
        (true, 0) => {
            let message = "no node is given it: see Accepted".to_owned();
            say("Programmed", "False", "NotAccepted", message)
        }
        // A policy that restricts is not let go of because it can't be read.
        (true, needed) => {
            let message = format!(
                "{} of {needed} nodes; in its place they are given one that denies all models and operations, for what it \
                 restricts can't be read: see Accepted",
                programmed.taken
            );
            say("Programmed", "False", "NotAccepted", message)
        }
    };
    vec![accepted, resolved, programmed]
}

fn say_programmed(programmed: &Programmed) -> Saying {
    let Programmed {
        taken,
        needed,
        rejections,
    } = programmed;
    match (rejections.first(), *needed) {
        (Some(first), _) => {
            let others = match rejections.len() {
                1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            let message = format!(
                "{taken} of {needed} nodes; node {} has refused it: {}{others}",
                first.node, first.message
            );
            say("Programmed", "False", "Rejected", message)
        }
        (None, 0) => say(
            "Programmed",
            "True",
            "NotNeeded",
            "0 of 0 nodes: no intercepted pod may use it yet; label a namespace with weir.dev/intercept=enabled and restart its pods"
                .to_owned(),
        ),
        (None, needed) if *taken >= needed => {
            say("Programmed", "True", "Programmed", format!("{taken} of {needed} nodes"))
        }
        (None, needed) => {
            let message = format!(
                "{taken} of {needed} nodes; those that are missing have no agent that is connected and ready: \
                 look at the pods of the DaemonSet weir-agent"
            );
            say("Programmed", "False", "Pending", message)
        }
    }
}

fn say(type_: &'static str, status: &'static str, reason: &'static str, message: String) -> Saying {
    let message = match message.char_indices().nth(MESSAGE_CHARACTERS) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    };
    Saying {
        type_,
        status,
        reason,
        message,
    }
}

fn in_one_line(object: &ObjectName, problems: &[Problem]) -> String {
    let object = object.to_string();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| problem.in_status_of(&object))
        .collect();
    lines.join("; ")
}

/// What is said while agents may still be on their way to a controller that has only just begun: that some are missing is no news of the object yet, so what
/// `present` says of nodes that have it stands.
pub fn while_agents_return(
    sayings: Vec<Saying>,
    present: &[Condition],
    generation: Option<i64>,
) -> Vec<Saying> {
    let stands = present.iter().find(|condition| {
        condition.type_ == "Programmed"
            && condition.reason == "Programmed"
            && condition.observed_generation == generation
    });
    let each = sayings.into_iter().map(|saying| match stands {
        Some(stands) if saying.reason == "Pending" => {
            say("Programmed", "True", "Programmed", stands.message.clone())
        }
        _ => saying,
    });
    each.collect()
}

/// The conditions that say so; `None` where `present` does already. A condition's time is that of its last change of status.
pub fn conditions(
    present: &[Condition],
    sayings: &[Saying],
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Vec<Condition>> {
    let find = |type_: &str| present.iter().find(|condition| condition.type_ == type_);
    let is_said = |saying: &Saying| {
        find(saying.type_).is_some_and(|condition| {
            condition.status == saying.status
                && condition.reason == saying.reason
                && condition.message == saying.message
                && condition.observed_generation == generation
        })
    };
    if sayings.iter().all(is_said) {
        return None;
    }
    let condition = |saying: &Saying| {
        let before = find(saying.type_).filter(|condition| condition.status == saying.status);
        Condition {
            type_: saying.type_.to_owned(),
            status: saying.status.to_owned(),
            reason: saying.reason.to_owned(),
            message: saying.message.clone(),
            observed_generation: generation,
            last_transition_time: before
                .map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    Some(sayings.iter().map(condition).collect())
}

#[cfg(test)]
#[path = "conditions_tests.rs"]
mod tests;
