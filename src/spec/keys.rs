//! Every key of the job file: which this version carries out, and which flag sets it.

/// A key that the contract names.
#[derive(Debug)]
pub(super) struct Key {
    /// Its section, empty at the top; and its name.
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// The flag that says the same in a one-liner.
    pub(super) flag: Option<&'static str>,
    /// A value for it, as TOML.
    pub(super) example: &'static str,
    /// Whether this version carries it out.
    pub(super) carried: bool,
}

impl Key {
    /// As it is written in messages: `section.name`.
    pub(super) fn path(&self) -> String {
        join(self.section, self.name)
    }
}

/// The name of `name` in `section`.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    flag: &'static str,
    example: &'static str,
) -> Key {
    Key {
        section,
        name,
        example,
        flag: if flag.is_empty() { None } else { Some(flag) },
        carried: true,
    }
}

/// A key of a later version.
const fn later(section: &'static str, name: &'static str) -> Key {
    Key {
        section,
        name,
        flag: None,
        example: "",
        carried: false,
    }
}

/// The sections of the file.
pub(super) const SECTIONS: [&str; 7] = [
    "source", "prompt", "answer", "model", "budget", "output", "ledger",
];

/// All keys of the contract. The first one of a section is the one to begin with.
pub(super) const KEYS: &[Key] = &[
    key("", "name", "--name", "\"ticket-triage\""),
    key("source", "table", "--table", "\"tickets.parquet\""),
    key("source", "query", "--query", "\"tickets.sql\""),
    key(
        "source",
        "tables",
        "--tables",
        "{ tickets = \"tickets.parquet\" }",
    ),
    key("source", "key", "--key", "[\"ticket_id\"]"),
    key("source", "where", "--where", "\"lang = 'en'\""),
    key("source", "limit", "--limit", "1000"),
    key("source", "sample", "--sample", "1000"),
    key("source", "seed", "--sample-seed", "7"),
    key("source", "types", "", "{ zip = \"VARCHAR\" }"),
    key("source", "delimiter", "", "\";\""),
    later("source", "snapshot"),
    key(
        "prompt",
        "user",
        "--prompt",
        "\"Label this ticket: {{ body }}\"",
    ),
    key(
        "prompt",
        "system",
        "--system",
        "\"You label support tickets.\"",
    ),
    key("prompt", "system_file", "--system-file", "\"triage.md\""),
    key("prompt", "cache", "", "\"auto\""),
    key("prompt", "dedupe", "--dedupe", "true"),
    key(
        "prompt",
        "examples",
        "",
        "[{ user = \"It crashes\", assistant = \"bug\" }]",
    ),
    key("prompt", "examples_table", "", "\"examples.parquet\""),
    key(
        "prompt",
        "examples_query",
        "",
        "\"SELECT question AS \\\"user\\\", label AS assistant FROM examples LIMIT 8\"",
    ),
    key("prompt", "assistant_prefix", "", "\"Label:\""),
    key("prompt", "images", "--images", "[\"photo\"]"),
    key("prompt", "documents", "--documents", "[\"invoice_pdf\"]"),
    key("prompt", "attachments_from", "", "[\"s3://lake/photos/\"]"),
    key("answer", "column", "--column", "\"triage\""),
    key("answer", "type", "", "\"text\""),
    key(
        "answer",
        "choices",
        "--choices",
        "[\"billing\", \"bug\", \"other\"]",
    ),
    key("answer", "multiple", "", "true"),
    key("answer", "min", "", "1"),
    key("answer", "max", "", "3"),
    key("answer", "other", "", "\"other\""),
    key("answer", "trim", "", "true"),
    key("answer", "max_chars", "", "400"),
    key(
        "answer",
        "fields",
        "",
        "{ urgency = \"SMALLINT\", due = { type = \"DATE\", nullable = true } }",
    ),
    key("answer", "schema", "", "{ type = \"object\", ... }"),
    key("answer", "schema_file", "", "\"ticket.schema.json\""),
    key("answer", "types", "", "{ \"lines[].qty\" = \"INT\" }"),
    key("answer", "flatten", "", "true"),
    key("answer", "prefix", "", "\"\""),
    key("answer", "dimensions", "", "512"),
    key("answer", "precision", "", "\"half\""),
    key("answer", "too_long", "", "\"truncate\""),
    key("answer", "meta", "--meta", "\"minimal\""),
    key("answer", "reask", "", "2"),
    key(
        "answer",
        "reask_model",
        "",
        "\"anthropic/claude-sonnet-5-5\"",
    ),
    key("answer", "grow_output_tokens", "", "2.0"),
    key("model", "use", "--model", "\"anthropic/claude-haiku-4-5\""),
    key("model", "mode", "", "\"batch\""),
    later("model", "route"),
    later("model", "deadline"),
    key("model", "max_output_tokens", "--max-output-tokens", "64"),
    key("model", "max_input_tokens", "", "8191"),
    key("model", "temperature", "--temperature", "0.0"),
    key(
        "model",
        "base_url",
        "--base-url",
        "\"http://127.0.0.1:8080/v1\"",
    ),
    key(
        "model",
        "api_key_env",
        "--api-key-env",
        "\"ANTHROPIC_API_KEY\"",
    ),
    key("model", "service", "--service", "\"my-proxy\""),
    key("model", "structured_output", "", "\"prompt\""),
    key("model", "params", "", "{ top_p = 0.9 }"),
    key(
        "model",
        "max_requests_per_batch",
        "--max-requests-per-batch",
        "10000",
    ),
    key(
        "model",
        "max_bytes_per_batch",
        "--max-bytes-per-batch",
        "100000000",
    ),
    key("model", "max_enqueued", "", "200000"),
    key("model", "max_batch_age", "", "\"36h\""),
    key("model", "poll_min", "--poll-min", "\"2s\""),
    key("model", "poll_max", "--poll-max", "\"5m\""),
    later("budget", "max_usd"),
    later("budget", "per"),
    key("budget", "max_failed", "--max-failed", "\"1%\""),
    key("output", "path", "--output", "\"tickets_triaged.parquet\""),
    key("output", "layout", "--layout", "\"mirror\""),
    key("output", "overwrite", "--overwrite", "true"),
    key(
        "ledger",
        "path",
        "--ledger",
        "\"_columnist/ticket-triage/\"",
    ),
    key("ledger", "lease", "", "\"60s\""),
    key("ledger", "settle", "", "\"10m\""),
    key("ledger", "on_ambiguous", "", "\"wait\""),
    key("ledger", "keep_prompts", "", "true"),
];

/// The key named `name` in `section`.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|key| key.section == section && key.name == name)
}

/// The key whose path is `path`.
pub(super) fn find_path(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path() == path)
}

/// What other tools call our keys, where no likeness of letters would lead there.
const OTHER_WORDS: [(&str, &str); 11] = [
    ("prompt", "user"),
    ("template", "user"),
    ("filter", "where"),
    ("max_tokens", "max_output_tokens"),
    ("model", "use"),
    ("provider", "use"),
    ("id", "key"),
    ("endpoint", "base_url"),
    ("labels", "choices"),
    ("name", "use"),
    ("name", "column"),
];

/// The known key nearest to `name` in `section`.
pub(super) fn nearest(section: &str, name: &str) -> &'static Key {
    // Whoever stands in a section that exists most likely means one of its keys.
    let weight = if SECTIONS.contains(&section) {
        0.7
    } else {
        0.8
    };
    let score = |key: &Key| {
        let likeness = likeness(name, key.name);
        let home = strsim::jaro_winkler(section, key.section);
        // A key that stands elsewhere was meant, however like it is to a shorter one here.
        let same = if name == key.name { 0.2 } else { 0.0 };
        // A key of a later version is named only when nothing else is like it.
        let carried = if key.carried { 0.02 } else { 0.0 };
        weight * likeness + (1.0 - weight) * home + same + carried
    };
    KEYS.iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .expect("there are keys")
}

/// What may stand in `section`, for whoever wrote something else.
pub(super) fn known(section: &str) -> String {
    let carried = |key: &&Key| key.section == section && key.carried;
    let names: Vec<&str> = KEYS.iter().filter(carried).map(|key| key.name).collect();
    match section {
        "" => format!(
            "outside of sections there is `{}`; the sections are: {}",
            names.join("`, `"),
            SECTIONS.join(", ")
        ),
        section => format!("the keys of `[{section}]` are: {}", names.join(", ")),
    }
}

/// How alike a name and the name of a key are, from 0 to 1.
pub(super) fn likeness(name: &str, key: &str) -> f64 {
    let name = name.to_lowercase().replace('-', "_");
    let same = OTHER_WORDS
        .iter()
        .any(|(other, ours)| *other == name && *ours == key);
    if same {
        0.97
    } else {
        // One slip of the pen, as two letters that changed places, is nearer than any likeness.
        let slips = strsim::osa_distance(&name, key);
        let least = if slips <= 1 { 0.9 } else { 0.0 };
        strsim::jaro_winkler(&name, key).max(least)
    }
}

/// The section nearest to `name`, if one is near enough for `name` to be a slip of the pen.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    nearest_word(name, &SECTIONS)
}

/// The word of `words` nearest to `word`, if one is near.
pub(super) fn nearest_word<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let word = word.to_lowercase();
    words
        .iter()
        .map(|known| (strsim::jaro_winkler(&word, known), *known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (section, name, meant) in [
            ("prompt", "usr", "prompt.user"),
            ("source", "kye", "source.key"),
            ("promt", "user", "prompt.user"),
            ("", "table", "source.table"),
            ("", "nmae", "name"),
            ("model", "temprature", "model.temperature"),
            ("", "temperature", "model.temperature"),
            ("answer", "max_output_tokens", "model.max_output_tokens"),
            ("model", "max_tokens", "model.max_output_tokens"),
            ("model", "api_key", "model.api_key_env"),
            ("model", "name", "model.use"),
            ("model", "model", "model.use"),
            ("prompt", "template", "prompt.user"),
            ("source", "filter", "source.where"),
            ("answer", "choice", "answer.choices"),
            ("output", "Path", "output.path"),
            ("model", "poll-min", "model.poll_min"),
            ("ledger", "keep_prompt", "ledger.keep_prompts"),
            ("budget", "max_fail", "budget.max_failed"),
            ("", "column", "answer.column"),
        ] {
            assert_eq!(nearest(section, name).path(), meant, "{section}.{name}");
        }
    }

    #[test]
    fn a_section_is_found_behind_a_slip_and_not_behind_another_word() {
        assert_eq!(nearest_section("promt"), Some("prompt"));
        assert_eq!(nearest_section("Ledgers"), Some("ledger"));
        assert_eq!(nearest_section("extras"), None);
    }

    #[test]
    fn every_key_stands_in_a_section_once() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(key.section.is_empty() || SECTIONS.contains(&key.section));
            assert!(
                KEYS[at + 1..]
                    .iter()
                    .all(|other| other.path() != key.path())
            );
        }
    }
}
