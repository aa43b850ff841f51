//! What may stand where the output is to go.

use crate::output::place::marker::{Marker, OUR_FOLDER};

/// What stands where the output is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Something that Columnist did not write, or not all of it.
    Foreign,
    /// Nothing, or an empty folder.
    Nothing,
    /// An output of ours.
    Ours {
        /// The identity that it was published with.
        identity: Vec<(String, String)>,
        /// Whether its publishing came to an end. Only a folder on object storage can lack it.
        complete: bool,
    },
}

impl Existing {
    /// What a folder is that holds `files` and these markers.
    pub(in crate::output) fn of_folder(
        files: &[String],
        success: Option<Marker>,
        publishing: Option<Marker>,
    ) -> Existing {
        let in_ledger = |file: &String| file.split('/').any(|part| part == OUR_FOLDER);
        if files.iter().all(in_ledger) {
            return Existing::Nothing;
        }
        let complete = success.is_some();
        // While both are there the folder is complete, but may hold files of an older output.
        let known = |file: &String| {
            let markers = success.iter().chain(&publishing);
            markers.into_iter().any(|marker| marker.knows(file))
        };
        let all_known = files.iter().all(known);
        match success.or(publishing) {
            Some(Marker { identity, .. }) if all_known => Existing::Ours { identity, complete },
            _ => Existing::Foreign,
        }
    }
}
