//! The known word that is nearest to a mistyped one, for hints.

/// The candidate most like `word`, if any is like it at all.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::jaro_winkler(&lower, &candidate.to_lowercase());
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_finds_its_word_and_nonsense_finds_none() {
        let words = ["subject", "body", "ticket_id"];
        assert_eq!(nearest("subjct", words), Some("subject"));
        assert_eq!(nearest("BODY", words), Some("body"));
        assert_eq!(nearest("zzz", words), None);
    }
}
