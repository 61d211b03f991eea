//! Which kernel this is.

use nix::sys::utsname::uname;

/// A kernel's major and minor version.
pub(super) type Version = (u32, u32);

/// What the running kernel calls itself, such as `6.1.0-32-amd64`, and its version by that. `None` where it says neither: whether it
/// will do shows when the programs are loaded.
pub(super) fn running() -> Option<(String, Version)> {
    let release = uname().ok()?.release().to_str()?.to_owned();
    let version = parse(&release)?;
    Some((release, version))
}

/// The version in a release: its first two numbers.
pub(super) fn parse(release: &str) -> Option<Version> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn releases_are_read() {
        assert_eq!(parse("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse("5.15.0-91-generic"), Some((5, 15)));
        assert_eq!(parse("6.1"), Some((6, 1)));
        assert_eq!(parse("6.12-rc1"), Some((6, 12)));
    }

    #[test]
    fn what_is_no_release_is_not_guessed_at() {
        for release in ["", "next", "6", "6.x", "v6.1", "99999999999.1"] {
            assert_eq!(parse(release), None, "{release}");
        }
    }
}
