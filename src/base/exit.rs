//! How a process ends: the kinds of error, the exit codes, and which kind has which. Exit codes are an
//! interface: schedulers act on them.

/// What the reader can do about an error. A new kind is earned only when they would act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nobody can tell whether the provider took a batch; a person must say.
    Ambiguous,
    /// Stored state is corrupt, or was written by a newer version.
    Data,
    /// Another process holds the job.
    Held,
    /// A defect of ours, or something nobody foresaw.
    Internal,
    /// The command, the job file or the input is wrong; trying again changes nothing.
    Invalid,
    /// Work is pending at the provider.
    Pending,
    /// Credentials, quota or access refused.
    Refused,
    /// Storage or network is away; trying again may help.
    Unavailable,
}

impl ErrorKind {
    /// The code of a process that ends with an error of this kind.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            ErrorKind::Internal | ErrorKind::Unavailable => Exit::Unexpected,
            ErrorKind::Invalid => Exit::Invalid,
            ErrorKind::Ambiguous => Exit::Ambiguous,
            ErrorKind::Refused => Exit::Refused,
            ErrorKind::Data => Exit::Corrupt,
            ErrorKind::Held | ErrorKind::Pending => Exit::Pending,
        }
    }

    /// That code's number.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.exit().code()
    }
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, and within the error budget.
    Done = 0,
    /// Unexpected; or storage or network is away. A retry helps.
    Unexpected = 1,
    /// The command or the job file is wrong.
    Invalid = 2,
    /// Published, but more rows failed than `max_failed` allows.
    TooManyFailed = 3,
    /// The budget stopped it; rows are deferred.
    Budget = 4,
    /// Nobody can tell whether a batch was accepted; a person must say.
    Ambiguous = 5,
    /// A quality gate failed.
    Gate = 6,
    /// Credentials, quota or access refused.
    Refused = 7,
    /// Stored state is corrupt, or was written by a newer version.
    Corrupt = 8,
    /// Work is pending at the provider, or another process holds the job. A retry helps.
    Pending = 75,
    /// There was nothing to do, and `--skip-code` asked to be told so.
    NothingToDo = 99,
    /// Interrupted by SIGINT. A retry helps.
    Interrupted = 130,
    /// Interrupted by SIGTERM. A retry helps.
    Terminated = 143,
}

impl Exit {
    /// Every code; where several hold, the first one counts. From 8 to 0 this is the contract's
    /// order. The codes that it does not rank stand where they do no harm: "come back" before the
    /// budget's "do not", since there is paid work to fetch; and an interrupt before all, since
    /// nothing was judged.
    pub const BY_WEIGHT: [Exit; 13] = [
        Exit::Interrupted,
        Exit::Terminated,
        Exit::Invalid,
        Exit::Corrupt,
        Exit::Refused,
        Exit::Ambiguous,
        Exit::Unexpected,
        Exit::Pending,
        Exit::Budget,
        Exit::Gate,
        Exit::TooManyFailed,
        Exit::NothingToDo,
        Exit::Done,
    ];

    /// The code to return where `several` hold; `Done` where none does.
    #[must_use]
    pub fn of(several: &[Exit]) -> Exit {
        let heaviest = Self::BY_WEIGHT
            .into_iter()
            .find(|exit| several.contains(exit));
        heaviest.unwrap_or(Exit::Done)
    }

    /// The code that is this number.
    #[must_use]
    pub fn from_code(code: u8) -> Exit {
        let known = Self::BY_WEIGHT.into_iter().find(|exit| exit.code() == code);
        known.unwrap_or(Exit::Unexpected)
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_8_7_5_4_6_3_0_is_returned() {
        let order = [8, 7, 5, 4, 6, 3, 0];
        let exit = Exit::from_code;
        for (at, heavy) in order.into_iter().enumerate() {
            for light in &order[at..] {
                assert_eq!(Exit::of(&[exit(*light), exit(heavy)]), exit(heavy));
            }
        }
        assert_eq!(Exit::of(&[]), Exit::Done);
        assert_eq!(Exit::of(&[Exit::Budget, Exit::Pending]), Exit::Pending);
    }

    #[test]
    fn every_kind_of_error_has_its_code() {
        for (kind, exit) in [
            (ErrorKind::Ambiguous, Exit::Ambiguous),
            (ErrorKind::Data, Exit::Corrupt),
            (ErrorKind::Held, Exit::Pending),
            (ErrorKind::Internal, Exit::Unexpected),
            (ErrorKind::Invalid, Exit::Invalid),
            (ErrorKind::Pending, Exit::Pending),
            (ErrorKind::Refused, Exit::Refused),
            (ErrorKind::Unavailable, Exit::Unexpected),
        ] {
            assert_eq!(kind.exit(), exit);
        }
    }
}
