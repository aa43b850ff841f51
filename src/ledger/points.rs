//! Where a test may stop the world in here. The points around a commit are its writer's.

use crate::base::points;

points! {
    /// Around what is written beside the commits.
    CRASH_POINTS:
    CHECKPOINT = "ledger", "checkpoint";
    RELEASE = "lease", "release";
    RENEW = "lease", "renew";
    TAKE = "lease", "take";
}
