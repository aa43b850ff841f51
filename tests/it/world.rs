//! A small world for a job: a folder, a table, a sandbox, and what is in its books afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, RecordBatch, StringArray,
};
use columnist::base::http::RouterService;
use columnist::base::{Components, Ids, Time, TokioClock};
use columnist::emulator::{Bill, Faults, Sandbox, SandboxConfig};
use columnist::engine::{self, Report, Setup};
use columnist::ledger::Log;
use columnist::ledger::action::Action;
use columnist::provider::{self, Network, Options, Provider};
use columnist::spec::Job;
use columnist::work::progress::Unwatched;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The vendors whose batches a job can use.
pub(crate) const VENDORS: [&str; 2] = ["anthropic", "openai"];

/// A sandbox whose batches take so many minutes, at least and at most.
pub(crate) fn taking(least: u64, most: u64) -> SandboxConfig {
    SandboxConfig {
        batch_time: (Duration::from_mins(least), Duration::from_mins(most)),
        ..SandboxConfig::default()
    }
}

/// Numbers in the vectors of a job that embeds.
pub(crate) const DIMENSIONS: u32 = 8;

/// The labels of a job that labels.
pub(crate) const LABELS: [&str; 3] = ["billing", "bug", "other"];

/// A folder, a sandbox and the seams between.
pub(crate) struct World {
    pub folder: tempfile::TempDir,
    pub sandbox: Sandbox,
    pub components: Components,
    pub vendor: &'static str,
    pub job: Value,
}

impl World {
    /// A world around `vendor`, whose sandbox has `faults`.
    pub(crate) fn new(vendor: &'static str, faults: &str) -> World {
        let config = SandboxConfig {
            batch_time: (Duration::from_millis(20), Duration::from_millis(60)),
            faults: faults.parse::<Faults>().expect("faults"),
            ..SandboxConfig::default()
        };
        World::with(vendor, config)
    }

    /// A world around `vendor` with a sandbox of one's own.
    pub(crate) fn with(vendor: &'static str, config: SandboxConfig) -> World {
        let mut components = Components::system();
        components.ids = Arc::new(Ids::seeded(7));
        World::of(vendor, config, components)
    }

    /// The same, with its own time, chance and storage.
    pub(crate) fn of(vendor: &'static str, config: SandboxConfig, components: Components) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        World::within(folder, vendor, config, components)
    }

    /// A world on paused time, with a table of `rows` tickets in chunks of `chunk`.
    pub(crate) fn paused(
        vendor: &'static str,
        (rows, chunk): (usize, usize),
        config: SandboxConfig,
    ) -> World {
        let noon = Time::from_timestamp(1_800_000_000, 0).expect("in range");
        let clock = Arc::new(TokioClock::starting_at(noon));
        let components = Components {
            clock: Arc::<TokioClock>::clone(&clock),
            uptime: clock,
            ids: Arc::new(Ids::seeded(7)),
            ..Components::system()
        };
        let mut world = World::of(vendor, config, components);
        let bodies: Vec<_> = (0..rows).map(|n| Some(format!("ticket {n}"))).collect();
        write_table(&world.path("in.parquet"), &bodies, 64);
        let model = &mut world.job["model"];
        model["max_requests_per_batch"] = chunk.into();
        model["poll_min"] = json!({ "secs": 10, "nanos": 0 });
        model["poll_max"] = json!({ "secs": 60, "nanos": 0 });
        world
    }

    /// The same, in `folder`.
    pub(crate) fn within(
        folder: tempfile::TempDir,
        vendor: &'static str,
        config: SandboxConfig,
        mut components: Components,
    ) -> World {
        let sandbox = Sandbox::new(config, Arc::clone(&components.clock)).expect("a sandbox");
        components.http = Arc::new(RouterService::new(sandbox.router()));
        let path = |name: &str| folder.path().join(name).display().to_string();
        let model = if vendor == "openai" {
            "gpt-6-luna"
        } else {
            "claude-haiku-4-5"
        };
        let job = json!({
            "name": "triage",
            "source": { "input": { "table": path("in.parquet") }, "key": ["id"], "filter": null, "limit": null },
            "prompt": { "system": "You label.", "user": "Label this: {{ body }}", "dedupe": true },
            "answer": { "column": "label", "answer": { "type": "text" }, "meta": "minimal" },
            "model": {
                "provider": vendor, "model": model, "mode": "batch", "max_output_tokens": 64,
                "temperature": null, "params": {}, "base_url": null, "api_key_env": null, "service": null,
                "max_requests_per_batch": null, "max_bytes_per_batch": null,
                "poll_min": { "secs": 0, "nanos": 10_000_000 }, "poll_max": { "secs": 0, "nanos": 50_000_000 },
            },
            "budget": { "max_failed": { "rows": 0 } },
            "output": { "path": path("out.parquet"), "layout": null, "overwrite": false },
            "ledger": {
                "path": path("_columnist/triage"), "lease": { "secs": 60, "nanos": 0 },
                "settle": { "secs": 600, "nanos": 0 }, "on_ambiguous": "wait", "keep_prompts": true,
            },
            "vars": {},
        });
        World {
            folder,
            sandbox,
            components,
            vendor,
            job,
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The job as it stands.
    pub(crate) fn resolved(&self) -> Job {
        serde_json::from_value(self.job.clone()).expect("a job")
    }

    /// What a command works with.
    pub(crate) fn setup(&self, command: &'static str) -> Setup {
        Setup {
            job: self.resolved(),
            command,
            components: self.components.clone(),
            watch: Arc::new(Unwatched),
            memory: 16 << 20,
            no_follow: false,
            publish_partial: false,
            cancel_on_interrupt: false,
            vendors: None,
            interrupt: tokio_util::sync::CancellationToken::new(),
        }
    }

    /// The provider, through the sandbox.
    pub(crate) fn provider(&self) -> Arc<dyn Provider> {
        self.provider_as(self.vendor, "sk-test", None)
    }

    /// A vendor's, with a key of one's own, and a name for the service.
    pub(crate) fn provider_as(
        &self,
        vendor: &str,
        key: &'static str,
        service: Option<&str>,
    ) -> Arc<dyn Provider> {
        let base = match vendor {
            "openai" => "http://sandbox/openai/v1",
            _ => "http://sandbox/anthropic",
        };
        let options = Options {
            provider: vendor,
            base_url: Some(base),
            api_key_env: Some("KEY"),
            service,
            env: &|_| Some(key.to_owned()),
        };
        let network = Network {
            http: Arc::clone(&self.components.http),
            clock: Arc::clone(&self.components.clock),
            ids: Arc::clone(&self.components.ids),
        };
        provider::open(&options, network).expect("a provider")
    }

    /// `columnist run`.
    pub(crate) async fn run(&self) -> columnist::base::Result<Report> {
        engine::run(self.setup("run"), self.provider()).await
    }

    /// The sandbox's bill.
    pub(crate) fn bill(&self) -> Bill {
        self.sandbox.bill().expect("a bill")
    }

    /// The job embeds its texts from now on.
    pub(crate) fn embed(&mut self) {
        let answer = json!({ "type": "embedding", "dimensions": DIMENSIONS, "shortened": true });
        self.job["answer"]["answer"] = answer;
        self.job["answer"]["embedding"] = json!({ "max_input_tokens": 8191 });
        self.job["prompt"]["system"] = Value::Null;
        self.job["model"]["model"] = "text-embedding-3-small".into();
        self.job["model"]["max_output_tokens"] = 0.into();
    }

    /// The job labels its texts from now on.
    pub(crate) fn label(&mut self) {
        self.job["answer"]["answer"] = json!({ "type": "choice", "choices": LABELS });
    }

    /// Texts that were billed, and how many of them are different ones.
    pub(crate) fn billed_texts(&self) -> (u64, u64) {
        let mut draws = Vec::new();
        let noted = self.sandbox.billed(&mut |draw, _| {
            draws.push(draw);
            Ok(())
        });
        noted.expect("a bill");
        let all = draws.len() as u64;
        draws.sort_unstable();
        draws.dedup();
        (all, draws.len() as u64)
    }

    /// The answer of the sandbox to `prompt`, or how a plain one ends.
    pub(crate) fn answer(&self, prompt: &str) -> String {
        if self.job["answer"]["answer"]["type"] == "embedding" {
            return format!("{:?}", Sandbox::vector(hash(prompt), DIMENSIONS));
        }
        if self.job["answer"]["answer"]["type"] == "choice" {
            let at = hash(prompt) % LABELS.len() as u64;
            return LABELS[usize::try_from(at).expect("small")].to_owned();
        }
        format!("#{:016x}", hash(prompt))
    }
}

/// Checks that `file` has `bodies`, in order, each with the answer to its own prompt.
#[track_caller]
pub(crate) fn check_file(world: &World, file: &Path, bodies: &[Option<String>]) {
    let table = read_table(file);
    assert_eq!(table["body"], bodies, "{}", file.display());
    check_labels(world, &table["label"], bodies);
}

/// Checks that each of `labels` is the answer to the prompt of its body.
#[track_caller]
pub(crate) fn check_labels(world: &World, labels: &[Option<String>], bodies: &[Option<String>]) {
    assert_eq!(labels.len(), bodies.len());
    for (row, (label, body)) in labels.iter().zip(bodies).enumerate() {
        let body = body.as_deref().expect("a body");
        let answer = world.answer(&format!("Label this: {body}"));
        let label = label.as_deref();
        assert!(
            label.is_some_and(|label| label.ends_with(&answer)),
            "row {row}: {label:?}"
        );
    }
}

/// The sandbox's number for a prompt, as its documentation says.
pub(crate) fn hash(prompt: &str) -> u64 {
    let digest = Sha256::digest(format!("0\n{prompt}"));
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

/// Writes a table of `id` and `body`, in row groups of `group` rows.
pub(crate) fn write_table(path: &Path, bodies: &[Option<String>], group: usize) {
    write_rows(path, 0, bodies, group);
}

/// The same, whose ids begin with `first`.
pub(crate) fn write_rows(path: &Path, first: i64, bodies: &[Option<String>], group: usize) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((first..).take(bodies.len())));
    let texts: ArrayRef = Arc::new(bodies.iter().map(Option::as_deref).collect::<StringArray>());
    let batch =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("body", texts, true)])
            .expect("a batch");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group))
        .build();
    let file = std::fs::File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// The columns of a Parquet file, as text.
pub(crate) fn read_table(path: &Path) -> BTreeMap<String, Vec<Option<String>>> {
    read_columns(std::fs::File::open(path).expect("the output"))
}

/// The same, of a file's bytes wherever they are.
pub(crate) fn read_columns(
    file: impl ChunkReader + 'static,
) -> BTreeMap<String, Vec<Option<String>>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .expect("Parquet")
        .build()
        .expect("a reader");
    let mut columns: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for batch in reader {
        let batch = batch.expect("readable");
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if let Some(vectors) = column.as_fixed_size_list_opt() {
                let own = columns.entry(field.name().clone()).or_default();
                own.extend((0..vectors.len()).map(|at| vector_words(vectors, at)));
                continue;
            }
            // What has no words (request keys in the ledger) is left out.
            let Ok(text) = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8) else {
                continue;
            };
            let text = text.as_string::<i32>();
            let values =
                (0..text.len()).map(|at| text.is_valid(at).then(|| text.value(at).to_owned()));
            columns
                .entry(field.name().clone())
                .or_default()
                .extend(values);
        }
    }
    columns
}

/// A vector in words, which are the same for the same numbers.
fn vector_words(vectors: &FixedSizeListArray, at: usize) -> Option<String> {
    let own = vectors.is_valid(at).then(|| vectors.value(at))?;
    let numbers = own.as_primitive::<arrow::datatypes::Float32Type>();
    Some(format!("{:?}", numbers.values().to_vec()))
}

/// What the ledger of `world` says, fact by fact.
pub(crate) async fn facts(world: &World) -> Vec<Action> {
    let ledger = world.path("_columnist/triage").display().to_string();
    let root = world.components.stores.locate(&ledger).expect("a place");
    let mut log = Log::open(&world.components, &root);
    let commits = log.replay::<Action>().await.expect("a whole ledger");
    commits
        .into_iter()
        .flat_map(|commit| commit.actions)
        .collect()
}

/// How many batches the provider has made.
pub(crate) fn batches(world: &World) -> u64 {
    world.bill().total.batches_created
}
