//! A folder that all may write in (`/tmp`), and what another user left there: what cannot be replaced is
//! found out before it costs anything.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::shell::PROGRAM;
use crate::world::write_table;

const NOBODY: u32 = 65534;

/// A folder as `/tmp` is, with a table, and a ledger's folder and a program for nobody in particular.
struct Shared(tempfile::TempDir);

impl Shared {
    /// None where this process is not the superuser, who alone can give files to others.
    #[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
    fn new() -> Option<Shared> {
        if rustix::process::geteuid().as_raw() != 0 {
            println!("skipped: only the superuser can give files to other users");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let shared = Shared(folder);
        for (name, mode) in [("", 0o755), ("bin", 0o755), ("tmp", 0o1777), ("own", 0o777)] {
            let path = shared.path(name);
            fs::create_dir_all(&path).expect("made");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        }
        let program = shared.path("bin/columnist");
        if fs::hard_link(PROGRAM, &program).is_err() {
            fs::copy(PROGRAM, &program).expect("copied");
        }
        write_table(&shared.path("in.parquet"), &[Some("a".to_owned())], 2);
        Some(shared)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn call(&self, user: u32, command: &str, more: &[&str]) -> Output {
        let mut process = Command::new(self.path("bin/columnist"));
        process
            .args([
                command,
                "--table",
                "in.parquet",
                "--prompt",
                "Label: {{ body }}",
            ])
            .args([
                "--column",
                "label",
                "--model",
                "sandbox/x",
                "--ledger",
                "own/ledger",
                "--name",
                "shared",
            ])
            .args(more)
            .current_dir(self.0.path())
            .env_clear()
            .env("TMPDIR", self.path("own"));
        process
            .uid(user)
            .gid(user)
            .output()
            .expect("the program starts")
    }

    /// Checks that nobody is refused with these words by every command, and was not billed.
    #[track_caller]
    fn refused(&self, output: &str, words: &[&str]) {
        for command in ["check", "plan", "run", "submit"] {
            let ran = self.call(NOBODY, command, &["--output", output, "--overwrite"]);
            assert_eq!(ran.status.code(), Some(7), "{command}: {ran:?}");
            let said = String::from_utf8_lossy(&ran.stderr);
            for word in words {
                assert!(
                    said.contains(word),
                    "{command}: `{word}` is missing: {said}"
                );
            }
            assert!(said.contains("\nhint: "), "{said}");
        }
        assert!(
            !self.path("own/ledger/log").exists(),
            "something was promised"
        );
    }

    #[track_caller]
    fn done(&self, output: &str) {
        let ran = self.call(NOBODY, "run", &["--output", output, "--overwrite"]);
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    }
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).expect("given");
}

#[test]
fn an_output_of_another_user_in_a_sticky_folder_is_found() {
    let Some(shared) = Shared::new() else { return };
    write_table(
        &shared.path("tmp/out.parquet"),
        &[Some("old".to_owned())],
        2,
    );
    fs::create_dir(shared.path("tmp/out")).expect("made");
    fs::set_permissions(shared.path("tmp/out"), Permissions::from_mode(0o777)).expect("set");
    write_table(
        &shared.path("tmp/out/x.parquet"),
        &[Some("old".to_owned())],
        2,
    );
    let words = [
        "belongs to another user",
        "mode +t",
        "owner=`0`, user=`65534`",
    ];
    shared.refused("tmp/out.parquet", &words);
    shared.refused("tmp/out/", &words);
    // Both ways out.
    shared.done("tmp/other.parquet");
    fs::remove_file(shared.path("tmp/out.parquet")).expect("removed");
    shared.done("tmp/out.parquet");
    // And whose it is may.
    shared.done("tmp/out.parquet");
}

#[test]
fn a_place_to_build_in_that_is_another_users_is_found() {
    let Some(shared) = Shared::new() else { return };
    fs::create_dir_all(shared.path("tmp/_columnist")).expect("made");
    shared.refused(
        "tmp/out.parquet",
        &["cannot write where the output goes", "tmp/_columnist"],
    );
    give(&shared.path("tmp/_columnist"), NOBODY);
    shared.done("tmp/out.parquet");
}
