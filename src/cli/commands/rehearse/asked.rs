//! What each row of a table asks: rendered anew, in the order of the table, without the engine.

use arrow::array::RecordBatch;
use arrow::row::Rows;
use futures::StreamExt;
use futures::stream::Fuse;
use sha2::{Digest, Sha256};

use crate::base::Result;
use crate::engine::Attacher;
use crate::prompt::{Prompt, Prompts, Template};
use crate::source::{Predicate, RowIds, RowNumbers, Scan, Slices, Source};
use crate::spec::Job;
use crate::work::{Attachment, InputFit, InputRule};

/// What a row asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Its prompt cannot be rendered, or is too long.
    Failed,
    /// Nothing: it was not chosen, or there is nothing to send.
    Nothing,
    /// What the sandbox draws from its prompt.
    Prompt(u64),
    /// What the sandbox draws from each piece of its text, and how many bytes that has.
    Pieces(Vec<(u64, u32)>),
}

impl Ask {
    /// Everything that the sandbox draws for it.
    pub(super) fn draws(&self) -> Vec<u64> {
        match self {
            Ask::Failed | Ask::Nothing => Vec::new(),
            Ask::Prompt(draw) => vec![*draw],
            Ask::Pieces(pieces) => pieces.iter().map(|(draw, _)| *draw).collect(),
        }
    }
}

/// The rows of a table that are chosen, each with what it asks.
pub(super) struct AskedRows {
    slices: Fuse<Slices>,
    template: Template,
    prompts: Prompts,
    rows: RowNumbers,
    ids: Option<RowIds>,
    keys: Option<Rows>,
    /// The place of the next one among those at hand.
    at: usize,
    /// How many more may ask.
    left: u64,
    seed: u64,
    /// Finds what is attached to rows, where something may be.
    attacher: Option<Attacher>,
    /// The rows at hand.
    batch: Option<RecordBatch>,
    attached: Vec<Result<Vec<Attachment>, String>>,
    /// Which texts are too long, where texts are embedded.
    inputs: Option<InputRule>,
}

impl AskedRows {
    /// Reads `table`, which has the columns of `source` at least; with the row ids of `key`.
    pub(super) async fn open(
        job: &Job,
        source: &Source,
        table: &Source,
        key: &[String],
        (seed, attacher, inputs): (u64, Option<Attacher>, Option<InputRule>),
    ) -> Result<AskedRows> {
        let fields = source.schema().fields();
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        let template = Template::compile(&job.prompt.user, "prompt.user", &names, &job.vars)?;
        let template = template.with_attachments(job.prompt.attached());
        let mut columns = template.columns().to_vec();
        columns.extend(
            key.iter()
                .filter(|name| !template.columns().contains(name))
                .cloned(),
        );
        let mut scan = Scan::of(columns);
        if let Some(filter) = &job.source.filter {
            scan = scan.filter(Predicate::compile(filter, table.schema(), &job.vars)?);
        }
        if let Some(sample) = job.source.sample {
            let sample = (sample.rows, sample.seed);
            scan.sample = Some(table.sample(scan.filter.as_ref(), sample).await?);
        }
        let ids = match key {
            [] => None,
            key => Some(RowIds::new(table.schema(), key)?),
        };
        Ok(AskedRows {
            slices: table.scan(scan).await?.fuse(),
            template,
            prompts: Prompts::default(),
            rows: RowNumbers::Range(0..0),
            ids,
            keys: None,
            at: 0,
            left: job.source.limit.unwrap_or(u64::MAX),
            seed,
            attacher,
            batch: None,
            attached: Vec::new(),
            inputs,
        })
    }

    /// What the row at position `row` asks, and its id if it was chosen. Positions must ascend.
    pub(super) async fn row(&mut self, row: u64) -> Result<(Ask, Option<&[u8]>)> {
        while self.at >= self.rows.len() {
            let Some(slice) = self.slices.next().await else {
                return Ok((Ask::Nothing, None));
            };
            let slice = slice?;
            self.template.render(&slice.batch, &mut self.prompts)?;
            self.keys = self
                .ids
                .as_ref()
                .map(|ids| ids.encode(&slice.batch))
                .transpose()?;
            if let Some(attacher) = &self.attacher {
                let columns = self.template.columns();
                self.attached = attacher.rows(&slice.batch, columns, &self.prompts).await?;
                self.batch = Some(slice.batch);
            }
            (self.rows, self.at) = (slice.rows, 0);
        }
        if self.rows.get(self.at) != Some(row) || self.left == 0 {
            return Ok((Ask::Nothing, None));
        }
        let at = self.at;
        self.at += 1;
        self.left -= 1;
        let ask = match self.prompts.get(at) {
            Some(Prompt::Text(text)) => match self.attached.get(at) {
                None => ask(self.seed, self.inputs.as_ref(), text),
                Some(Ok(attachments)) => {
                    Ask::Prompt(draw(self.seed, &self.drawn(text, at, attachments).await?))
                }
                Some(Err(_)) => Ask::Failed,
            },
            Some(Prompt::Failed(_)) => Ask::Failed,
            Some(Prompt::Skipped(_)) | None => Ask::Nothing,
        };
        Ok((ask, self.keys.as_ref().map(|keys| keys.row(at).data())))
    }
}

impl AskedRows {
    /// What the sandbox draws from: the text, and each attachment as it was sent after a newline.
    async fn drawn(&self, text: &str, at: usize, attachments: &[Attachment]) -> Result<String> {
        let mut drawn = text.to_owned();
        if let (Some(attacher), Some(batch)) = (&self.attacher, &self.batch) {
            for sent in attacher.sent(batch, at, attachments).await? {
                drawn.push('\n');
                drawn.push_str(&sent);
            }
        }
        Ok(drawn)
    }
}

/// What a text asks.
fn ask(seed: u64, inputs: Option<&InputRule>, text: &str) -> Ask {
    let Some(rule) = inputs else {
        return Ask::Prompt(draw(seed, text));
    };
    let InputFit::Asks(text) = rule.fit(text) else {
        return Ask::Failed;
    };
    let mut lens = Vec::new();
    rule.pieces(text, &mut lens);
    if lens.len() == 1 {
        return Ask::Prompt(draw(seed, text));
    }
    let mut rest = text;
    let pieces = lens.into_iter().filter_map(|len| {
        let (piece, after) = rest.split_at_checked(len as usize)?;
        rest = after;
        Some((draw(seed, piece), len))
    });
    Ask::Pieces(pieces.collect())
}

/// The sandbox's number for a prompt, as its documentation has it.
pub(super) fn draw(seed: u64, prompt: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(format!("{seed}\n"))
        .chain_update(prompt)
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |draw, byte| draw << 8 | u64::from(*byte))
}
