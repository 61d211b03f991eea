//! An explanation for a person.

use std::fmt;

use super::answer::{BackendAnswer, Credential, Explanation, HostCount, State};

/// The column in which values begin.
const COLUMN: usize = 16;

/// Hosts of a list that are shown.
const SHOWN_HOSTS: usize = 10;

impl fmt::Display for Explanation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &str| writeln!(to, "  {name:<COLUMN$}{}", printable(value));
        row_of_state(self, &mut row)?;
        if let Some(since) = &self.since {
            row("since", &format!("{since}, by this agent"))?;
        }
        row("node", &self.node)?;
        if let Some(uid) = &self.uid {
            row("uid", uid)?;
        }
        if let Some(service_account) = &self.service_account {
            row("service account", service_account)?;
        }
        match self.failure_policy.as_deref() {
            Some("closed") => row(
                "agent away",
                "closed: new connections are refused until it is back",
            )?,
            Some(_) => row(
                "agent away",
                "open: new connections go straight to where they are dialled",
            )?,
            None => {}
        }
        if !self.excluded.is_empty() {
            row(
                "left alone",
                &format!("connections to {}", self.excluded.join(", ")),
            )?;
        }
        if self.state == State::Captured && self.backends.is_empty() {
            row(
                "backends",
                "none that its namespace may use: everything is relayed",
            )?;
        }
        for backend in &self.backends {
            row("backend", &of_backend(backend))?;
        }
        if !self.covered_hosts.is_empty() {
            let hosts = self.covered_hosts.join(", ");
            row("covered", &format!("backends would answer for {hosts}"))?;
        }
        if let Some(connections) = &self.connections {
            let counts = [
                (connections.terminated, "terminated"),
                (connections.relayed, "relayed"),
                (connections.refused, "refused"),
            ];
            let counts: Vec<String> = counts
                .iter()
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            row("connections", &counts.join(", "))?;
        }
        if let Some(exchanges) = &self.exchanges {
            row(
                "exchanges",
                &format!("{}, {} of them failed", exchanges.total, exchanges.failed),
            )?;
        }
        if !self.relayed_hosts.is_empty() {
            row("relayed to", &hosts(&self.relayed_hosts))?;
        }
        if !self.uncovered_hosts.is_empty() {
            let hosts = hosts(&self.uncovered_hosts);
            row(
                "not covered",
                &format!("AI services that no AIBackend answers for: {hosts}"),
            )?;
        }
        for rejection in &self.rejections {
            let text = format!(
                "\"{}\" does not trust Weir's certificate for {} (since {}): it has roots of its own, by its code or by a variable such as SSL_CERT_FILE. Give it those in \
                 /etc/weir/trust/ca-bundle.crt",
                rejection.command, rejection.host, rejection.since
            );
            row("distrust", &text)?;
        }
        if let Some(error) = &self.last_error {
            row(
                "last error",
                &format!("{} {}: {}", error.time, error.host, error.what),
            )?;
        }
        Ok(())
    }
}

/// The first row is about the pod, and has its name in place of a column's.
fn row_of_state(explanation: &Explanation, row: &mut impl FnMut(&str, &str) -> fmt::Result) -> fmt::Result {
    let name = format!("{}/{}", explanation.namespace, explanation.pod);
    row("pod", &format!("{name}: {}", explanation.state.as_str()))?;
    row("why", &explanation.why)?;
    match &explanation.mend {
        Some(mend) => row("mend", mend),
        None => Ok(()),
    }
}

fn of_backend(backend: &BackendAnswer) -> String {
    let mut text = format!("{} answers for {}", backend.name, backend.hosts.join(", "));
    if let Some(endpoint) = &backend.endpoint {
        text.push_str(&format!(", by way of {endpoint}"));
    }
    text.push_str(&match &backend.credential {
        Credential::Resolved => "; its key is put in".to_owned(),
        Credential::Passthrough => "; the caller's own key goes through".to_owned(),
        Credential::NotSent => "; not for this pod, which is only observed".to_owned(),
        Credential::Unresolved(why) => format!("; there is NO KEY to put in: {why}"),
    });
    if !backend.hosts_without_certificate.is_empty() {
        let hosts = backend.hosts_without_certificate.join(", ");
        text.push_str(&format!(
            "; there is NO CERTIFICATE yet for {hosts}: the controller has sent none"
        ));
    }
    if !backend.policies.is_empty() {
        text.push_str(&format!("; policies: {}", backend.policies.join(", ")));
    }
    text
}

fn hosts(hosts: &[HostCount]) -> String {
    let mut hosts: Vec<&HostCount> = hosts.iter().collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.connections));
    let shown: Vec<String> = hosts
        .iter()
        .take(SHOWN_HOSTS)
        .map(|host| format!("{} ({})", host.host, host.connections))
        .collect();
    match hosts.len().saturating_sub(SHOWN_HOSTS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Names come from callers, and must not move the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}
