//! The exit codes in words.

/// The exit codes, as `--help` shows them.
pub(super) const HELP: &str = "\
Exit codes:
    0  done, and within the error budget
    1  unexpected; storage or network away                        (a retry helps)
    2  the command or the job file is wrong
    3  published, but more rows failed than `max_failed` allows
    4  the budget stopped it; rows are deferred
    5  cannot tell whether a batch was accepted; a person must say
    6  a quality gate failed
    7  credentials, quota or access refused
    8  stored state is corrupt, or was written by a newer version
   75  work is pending at the provider, or another process
       holds the job                                              (a retry helps)
   99  nothing to do, only with --skip-code
  130, 143  interrupted; batches go on, run it again to resume    (a retry helps)";

#[cfg(test)]
mod tests {
    use super::HELP;
    use crate::base::Exit;

    #[test]
    fn the_help_names_every_code() {
        for exit in Exit::BY_WEIGHT {
            let code = exit.code().to_string();
            let mut words = HELP.split(|c: char| !c.is_ascii_digit());
            assert!(words.any(|word| word == code), "{code}");
        }
    }
}
