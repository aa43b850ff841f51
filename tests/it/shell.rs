//! The program as a user calls it: the real binary, in a folder of its own.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use columnist::base::SystemClock;
use columnist::emulator::{Bill, Sandbox, SandboxConfig};
use serde_json::Value;

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_columnist");

/// Where a process that is left running writes to.
const SAID: &str = "said.txt";

/// A folder to call the program in.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// What a call came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The command, without what follows it.
    command: String,
    /// The exit code; of a process that was killed, the signal as a negative number.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The last line of standard output, which has to be one JSON object with nothing after it.
    pub(crate) fn line(&self) -> Value {
        let text = self.stdout.strip_suffix('\n').unwrap_or(&self.stdout);
        let last = text.rsplit('\n').next().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code, that standard error says all of `words`, and that it says what to do.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing: {self:?}");
        }
        if ["run", "submit", "collect"].contains(&self.command.as_str()) {
            assert_eq!(self.stdout.matches('\n').count(), 1, "{self:?}");
            let line = self.line();
            assert_eq!(line["exit_code"], code, "{self:?}");
            assert_eq!(line["published"], false, "{self:?}");
            assert!(line["error"]["kind"].is_string(), "{self:?}");
            let message = line["error"]["message"].as_str().expect("a message");
            assert!(self.stderr.contains(message), "{self:?}");
        } else {
            assert!(self.stdout.is_empty(), "{self:?}");
        }
        assert!(
            self.stderr.lines().any(|line| line.starts_with("error: ")),
            "{self:?}"
        );
    }

    /// As [`Ran::refused`], with a hint at the end.
    #[track_caller]
    pub(crate) fn refused_with_hint(&self, code: i32, words: &[&str]) {
        self.refused(code, words);
        assert!(self.stderr.contains("\nhint: "), "no hint: {self:?}");
    }
}

impl Shell {
    /// An empty folder, and an environment without any key.
    pub(crate) fn new() -> Shell {
        let folder = tempfile::tempdir().expect("a folder");
        // Else the folder itself would lie in one for temporary files.
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).expect("made");
        let env = vec![
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("TMPDIR".to_owned(), temporary.display().to_string()),
        ];
        Shell { folder, env }
    }

    /// Sets an environment variable for the calls to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    /// The program, not yet called.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Calls the program and waits for its end.
    pub(crate) fn call(&self, args: &[&str]) -> Ran {
        let done = self.command(args).output().expect("the program starts");
        Ran {
            command: args.first().copied().unwrap_or_default().to_owned(),
            code: done
                .status
                .code()
                .or_else(|| Some(-done.status.signal()?))
                .expect("an end"),
            stdout: String::from_utf8(done.stdout).expect("UTF-8"),
            stderr: String::from_utf8(done.stderr).expect("UTF-8"),
        }
    }

    /// Starts the program and leaves it running. What it says goes to the file that
    /// [`Shell::said`] reads.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        let said = std::fs::File::create(self.path(SAID)).expect("a file");
        let out = said.try_clone().expect("a file");
        let mut command = self.command(args);
        command.stdout(out).stderr(said);
        command.spawn().expect("the program starts")
    }

    /// What the process said that was started last, on both streams.
    pub(crate) fn said(&self) -> String {
        let said = std::fs::read(self.path(SAID)).expect("a file");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// What a call came to, as text, without what differs from one time to the next: the folder, ids,
    /// times, what it took, and how far something was when somebody looked.
    pub(crate) fn told(&self, ran: &Ran) -> String {
        let folder = self.folder.path().display().to_string();
        let clean = |text: &str| -> String {
            let lines: Vec<_> = text.lines().filter(|line| !is_passing(line)).collect();
            // Of several lines on how far the planning is, the last one is sure to come.
            let planned = |line: &str| line.contains(" rows planned, ");
            let next = lines
                .iter()
                .skip(1)
                .map(|line| planned(line))
                .chain([false]);
            let lines = lines.iter().zip(next);
            let lines = lines.filter(|(line, next)| !(planned(line) && *next));
            let lines = lines.map(|(line, _)| redacted(&line.replace(&folder, "<folder>")));
            lines
                .map(|line| line.trim_end().to_owned() + "\n")
                .collect()
        };
        format!(
            "exit {}\n--- stdout\n{}--- stderr\n{}",
            ran.code,
            clean(&ran.stdout),
            clean(&ran.stderr)
        )
    }

    /// Starts `columnist sandbox` on a free port.
    pub(crate) fn sandbox(&self, args: &[&str]) -> Served {
        let args: Vec<_> = ["sandbox", "--port", "0"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let mut child = self
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let out = child.stdout.take().expect("piped");
        let urls: Vec<_> = BufReader::new(out)
            .lines()
            .take(2)
            .map(|line| line.expect("a line"))
            .collect();
        Served { child, urls }
    }

    /// Everything that lies in the folder, by path beneath it, without the ledgers.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.folder.path(), self.folder.path(), &mut found);
        found.retain(|name| !name.starts_with("_columnist/"));
        found.sort();
        found
    }

    /// What the built-in sandbox of a `sandbox/...` job has billed.
    pub(crate) fn bill(&self, job: &str) -> Bill {
        let state_dir = Some(self.path("_columnist").join(job).join("sandbox"));
        let config = SandboxConfig {
            state_dir,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config, Arc::new(SystemClock)).expect("its state");
        sandbox.bill().expect("a bill")
    }

    /// That no sandbox beside any ledger in the folder has accepted anything.
    #[track_caller]
    pub(crate) fn nothing_billed(&self) {
        let Ok(ledgers) = std::fs::read_dir(self.path("_columnist")) else {
            return;
        };
        for ledger in ledgers.map(|entry| entry.expect("an entry").file_name()) {
            let bill = self.bill(&ledger.to_string_lossy());
            assert_eq!(bill.total.batches_created, 0, "{bill:?}");
            assert_eq!(bill.total.requests_accepted, 0, "{bill:?}");
        }
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(root, &path, found);
        } else {
            let relative = path.strip_prefix(root).expect("beneath");
            found.push(relative.to_string_lossy().into_owned());
        }
    }
}

/// Whether a line tells of a moment that another run may not see.
fn is_passing(line: &str) -> bool {
    [": in progress, ", ": validating, "]
        .iter()
        .any(|word| line.contains(word))
}

/// `line` with a name in the place of each word that is an id or a time, and of what a run took.
fn redacted(line: &str) -> String {
    let mut line = line.to_owned();
    for field in ["\"cpu_seconds\":", "\"peak_memory_bytes\":"] {
        if let Some((before, after)) = line.clone().split_once(field) {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            line = format!("{before}{field}<number>{rest}");
        }
    }
    if let Some((before, after)) = line.clone().split_once("\"custom_id\":\"") {
        let rest = after.split_once('"').map_or("", |(_, rest)| rest);
        line = format!("{before}\"custom_id\":\"<custom id>\"{rest}");
    }
    if let Some((before, after)) = line.clone().split_once(" so far")
        && let Some((start, _)) = before.rsplit_once("; ")
    {
        line = format!("{start}; <span> so far{after}");
    }
    without_ids(&line)
}

fn without_ids(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-:.+".contains(c);
    let (mut out, mut rest) = (String::new(), line);
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let bare = word.trim_end_matches([':', '.', ',']);
        let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lengths: Vec<_> = bare.split('-').map(str::len).collect();
        let name = if lengths == [8, 4, 4, 4, 12] && bare.split('-').all(hex) {
            "<id>"
        } else if lengths == [48] && hex(bare) {
            "<key>"
        } else if ["batch_", "msgbatch_"]
            .iter()
            .any(|start| bare.starts_with(start))
        {
            "<batch>"
        } else if chrono::DateTime::parse_from_rfc3339(bare).is_ok() {
            "<time>"
        } else {
            bare
        };
        out += name;
        out += &word[bare.len()..];
        let sign = behind.chars().next().map_or(0, char::len_utf8);
        out += &behind[..sign];
        rest = &behind[sign..];
    }
    out
}

/// A sandbox in a process of its own; dropping it ends the process.
pub(crate) struct Served {
    child: Child,
    urls: Vec<String>,
}

impl Served {
    /// The base URL of a dialect.
    pub(crate) fn url(&self, dialect: &str) -> String {
        let found = self.urls.iter().find_map(|line| line.strip_prefix(dialect));
        found.expect("a dialect").trim().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A process that is already gone is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
