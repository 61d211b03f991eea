//! Whether the clock can be right. Nobody is asked for the time: what is older than now must be older by this clock too.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::inspection::rfc3339;

/// Clocks differ by that much without anybody's harm.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Holds `now` against when the program was made.
pub(super) fn check(now: SystemTime, program: Option<&Path>) -> Result<String, String> {
    // An image may have set it to the epoch, and then it says nothing.
    let made = program.and_then(|program| program.metadata().ok()?.modified().ok());
    match made {
        Some(made) if now + TOLERANCE < made => Err(format!(
            "it is {} here, which is before this program was made ({}): certificates are not valid yet. Set the clock, by NTP",
            rfc3339(now),
            rfc3339(made)
        )),
        _ => Ok(rfc3339(now)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::check;

    #[test]
    fn a_clock_that_is_behind_is_told() {
        let program = std::env::current_exe().expect("a program");
        assert!(check(SystemTime::now(), Some(&program)).is_ok());
        let error = check(SystemTime::UNIX_EPOCH, Some(&program)).expect_err("it is behind");
        assert!(
            error.contains("1970-01-01T00:00:00Z") && error.contains("NTP"),
            "{error}"
        );
        assert!(check(SystemTime::UNIX_EPOCH + Duration::from_secs(1), None).is_ok());
    }
}
