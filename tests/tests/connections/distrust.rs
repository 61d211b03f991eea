//! Programs that do not trust Weir's root: told of, and then treated as their backend says.

use std::io;
use std::net::TcpStream;

use weir_tests::captured::tls::{Greeting, Trust};
use weir_tests::captured::{Dialer, configuration};
use weir_tests::world::{KEY, World};

use super::{MODELS, OPENAI};

fn configured(consequence: &str) -> String {
    configuration::secret("openai-secret", "apiKey", KEY)
        + &configuration::openai(&[
            "auth: {secretRef: {name: openai-secret}}",
            &format!("onUntrusted: {consequence}"),
        ])
}

fn distrusting() -> Greeting<'static> {
    Greeting {
        trust: Trust::Servers,
        ..Greeting::to("api.openai.com")
    }
}

/// Rejects Weir's leaf once, and waits until that was told.
fn reject(world: &World, dialer: &Dialer<'_>) -> String {
    let error = distrusting().on(world, dialer.connect(OPENAI)).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    dialer
        .running()
        .wait_for_stderr("does not trust Weir's certificate")
}

#[test]
fn it_is_told_once_and_relayed_from_then_on() {
    let world = World::new();
    let other = "---\napiVersion: weir.dev/v1alpha1\nkind: AIBackend\nmetadata: {name: anthropic}\n\
                 spec: {provider: {anthropic: {}}, auth: {passthrough: {}}}\n";
    let configuration = configured("Relay") + other;
    let dialer = Dialer::start(world.bare_weir().configuration(&configuration));
    let told = reject(&world, &dialer);
    // The command's name, the host, and what to do about it.
    for part in ["weir-probe", "api.openai.com", "root.pem", "onUntrusted"] {
        assert!(told.contains(part), "no {part} in {told}");
    }
    let mut wire = distrusting().on(&world, dialer.connect(OPENAI)).unwrap();
    // Nobody put a key in.
    assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 401);
    drop(wire);
    // Another host of the same program is terminated as ever.
    let another = Greeting::to("api.anthropic.com").on(&world, dialer.connect(OPENAI));
    drop(another.unwrap());
    let finished = dialer.finish();
    assert_eq!(
        finished.stderr.matches("does not trust").count(),
        1,
        "{}",
        finished.stderr
    );
    assert!(finished.access_log.is_empty());
}

#[test]
fn it_is_refused_where_the_backend_says_so() {
    let world = World::new();
    let dialer = Dialer::start(world.bare_weir().configuration(&configured("Refuse")));
    reject(&world, &dialer);
    let refused = |stream: TcpStream| distrusting().on(&world, stream).unwrap_err();
    assert_eq!(
        refused(dialer.connect(OPENAI)).kind(),
        io::ErrorKind::ConnectionReset
    );
    assert_eq!(
        refused(dialer.connect(OPENAI)).kind(),
        io::ErrorKind::ConnectionReset
    );
    dialer.finish();
    assert_eq!(world.provider().connections(), 0);
}

#[test]
fn a_program_that_just_leaves_is_tried_again() {
    let world = World::new();
    let dialer = Dialer::start(world.weir());
    let mut hello = Vec::new();
    Greeting::to("api.openai.com")
        .client(&world)
        .write_tls(&mut hello)
        .unwrap();
    let mut stream = dialer.connect(OPENAI);
    io::Write::write_all(&mut stream, &hello).unwrap();
    let mut first = [0; 1];
    io::Read::read_exact(&mut stream, &mut first).unwrap();
    drop(stream);
    dialer.running().wait_for_stderr("hung up when it saw");
    let mut wire = Greeting::to("api.openai.com")
        .on(&world, dialer.connect(OPENAI))
        .unwrap();
    assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 200);
    drop(wire);
    assert_eq!(dialer.finish().access_log.len(), 1);
}
