//! As whom the command runs.

use std::ffi::{CString, OsString};
use std::path::PathBuf;

use nix::unistd::{self, Gid, Uid, User};

/// Whom the command runs as.
#[derive(Debug, Clone)]
pub(super) struct RunAs {
    /// The user's name, or its number where it has none.
    pub(super) name: String,
    /// Set where it is not who runs Weir.
    pub(super) change: Option<Change>,
}

/// What it takes to become another user.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// The supplementary groups: looked up here, for between fork and exec it is too late to read files.
    pub(super) groups: Vec<Gid>,
    home: PathBuf,
    shell: PathBuf,
}

/// Why there is nobody to run the command as.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("--user {0}: there is no such user; `getent passwd` lists them")]
    Unknown(String),
    #[error("the user database cannot be read: {0}")]
    Database(nix::Error),
    #[error("SUDO_UID={0} is no user id; run Weir by sudo, or name the user with --user")]
    SudoUid(String),
    #[error(
        "SUDO_UID={0}: no user has this id, and the command is not run as root instead; name its user with --user"
    )]
    SudoUnknown(Uid),
}

impl RunAs {
    /// `--user`, else the user who called sudo, else whoever runs Weir.
    pub(super) fn find(
        option: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UserError> {
        if let Some(name) = option {
            let user = User::from_name(name).map_err(UserError::Database)?;
            return user
                .ok_or_else(|| UserError::Unknown(name.to_owned()))
                .and_then(Self::other);
        }
        if let Some(id) = variable("SUDO_UID").filter(|_| Uid::effective().is_root()) {
            return sudo_caller(&id).and_then(Self::other);
        }
        let uid = Uid::effective();
        let user = User::from_uid(uid).map_err(UserError::Database)?;
        Ok(Self {
            name: user.map_or_else(|| uid.to_string(), |user| user.name),
            change: None,
        })
    }

    fn other(user: User) -> Result<Self, UserError> {
        if user.uid == Uid::effective() {
            return Ok(Self {
                name: user.name,
                change: None,
            });
        }
        let login = CString::new(user.name.clone()).map_err(|_| UserError::Unknown(user.name.clone()))?;
        let groups = unistd::getgrouplist(&login, user.gid).map_err(UserError::Database)?;
        let change = Change {
            uid: user.uid,
            gid: user.gid,
            groups,
            home: user.dir,
            shell: user.shell,
        };
        Ok(Self {
            name: user.name,
            change: Some(change),
        })
    }
}

/// The user of `SUDO_UID`. Where there is none, root must not stand in.
fn sudo_caller(id: &str) -> Result<User, UserError> {
    let uid = id
        .parse()
        .map(Uid::from_raw)
        .map_err(|_| UserError::SudoUid(id.to_owned()))?;
    let user = User::from_uid(uid).map_err(UserError::Database)?;
    user.ok_or(UserError::SudoUnknown(uid))
}

impl Change {
    /// The variables that say who one is, as login(1) sets them.
    pub(super) fn environment(&self, name: &str) -> [(&'static str, OsString); 4] {
        [
            ("HOME", self.home.clone().into()),
            ("SHELL", self.shell.clone().into()),
            ("USER", name.into()),
            ("LOGNAME", name.into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{RunAs, UserError, sudo_caller};

    #[test]
    fn an_unknown_user_is_named() {
        let error = RunAs::find(Some("nobody-of-that-name"), |_| None).expect_err("no machine has this user");
        assert!(matches!(error, UserError::Unknown(name) if name == "nobody-of-that-name"));
    }

    #[test]
    fn a_caller_of_sudo_without_an_entry_is_an_error_and_not_root() {
        let error = sudo_caller("3999999999").expect_err("no machine has this user");
        assert_eq!(
            error.to_string(),
            "SUDO_UID=3999999999: no user has this id, and the command is not run as root instead; name its user with --user"
        );
        assert!(matches!(sudo_caller("ada"), Err(UserError::SudoUid(id)) if id == "ada"));
        assert!(sudo_caller("0").is_ok_and(|user| user.uid.is_root()));
    }

    #[test]
    fn without_sudo_it_is_whoever_runs_weir() {
        let run_as = RunAs::find(None, |_| None).expect("this process has a user");
        assert!(run_as.change.is_none());
    }
}
