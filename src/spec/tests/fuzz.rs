//! No text makes resolving panic.

use proptest::prelude::*;

use super::*;
use crate::base::mutate::one_spoilt;

/// Job files as people write them.
const JOBS: [&str; 3] = [
    include_str!("../../../queries/triage.toml"),
    include_str!("../../../queries/summary.toml"),
    include_str!("../../../fixtures/jobs/wrong.toml"),
];

proptest! {
    #[test]
    fn no_accident_in_a_job_file_makes_resolving_panic(bytes in one_spoilt(JOBS.map(str::to_owned).to_vec())) {
        let _ = resolve(&draft(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn no_text_makes_resolving_panic(text in "(?s).{0,120}") {
        let _ = resolve(&draft(&text));
        let _ = resolve(&draft(&small(&text)));
    }

    #[test]
    fn no_value_of_a_known_key_makes_resolving_panic(
        key in 0..crate::spec::keys::KEYS.len(),
        value in "([\\[{]?[0-9a-z.,=\"\\-${}/: é]{0,12}[\\]}]?)|\"[a-z${}/:.é ]{0,16}\"|-?[0-9]{1,25}",
    ) {
        let path = crate::spec::keys::KEYS[key].path();
        let _ = resolve(&draft(&format!("{path} = {value}\n")));
        let mut set = draft(&small(""));
        set.set(&format!("{path}={value}"));
        if let Ok(job) = resolve(&set) {
            let text = serde_json::to_string(&job).expect("a job can be stored");
            let back: Job = serde_json::from_str(&text).expect("and read again");
            prop_assert_eq!(back, job);
        }
    }
}
