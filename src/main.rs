//! Columnist writes a column.

use std::process::ExitCode;

fn main() -> ExitCode {
    columnist::cli::main()
}
