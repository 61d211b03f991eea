//! An address that there is no way to: captured, connect() succeeds all the same.

use weir_tests::captured::tls::Greeting;
use weir_tests::captured::{Dialer, configuration};
use weir_tests::world::{KEY, World};

use super::MODELS;

/// The app would have gone on to the name's next address, had its connect() failed; Weir does it in its place.
#[test]
fn another_address_of_the_name_is_tried() {
    let world = World::new();
    let backend = configuration::secret("openai-secret", "apiKey", KEY)
        + &configuration::openai(&["auth: {secretRef: {name: openai-secret}}"]);
    let dialer = Dialer::start(world.bare_weir().configuration(&backend));
    let greeting = Greeting::to("api.openai.com");
    let mut wire = greeting
        .on(&world, dialer.connect("[2001:db8:ffff::1]:443"))
        .unwrap();
    assert_eq!(wire.exchange(MODELS).unwrap().head.status(), 200);
    drop(wire);
    assert_eq!(dialer.finish().access_log.len(), 1);
}
