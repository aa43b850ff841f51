//! The prompts of a chunk, wherever they are.
//!
//! Usually the ledger keeps them. Where it is not to (`keep_prompts = false`), they lie in the scratch
//! folder of the process that planned them; after its end the rows are rendered again, and a prompt
//! counts only if it makes the same request key as before.

use std::fs::File;

use futures::StreamExt;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::ledger::requests::{RequestColumns, Requests, RequestsReader, RequestsWriter};
use crate::prompt::{Prompt, Prompts, Template};
use crate::source::RowIds;
use crate::work::{Content, InputFit};

use crate::engine::attachments::attacher::found;
use crate::engine::context::files::Files;
use crate::engine::plan::input::PlanInput;

/// The requests of a chunk with their prompts, to be read.
pub(crate) async fn with_prompts(
    input: &PlanInput<'_>,
    template: Template,
    files: &Files,
    (plan, chunk): (u64, u64),
) -> Result<File> {
    let place = files.requests(plan, chunk);
    let stored = files.open(&place).await?;
    // A reader seeks before each read, so that the file can be read from its beginning again.
    let again = || stored.try_clone().or_err(ErrorKind::Unavailable, SCRATCH);
    let mut reader = RequestsReader::open(again()?, RequestColumns::All)?;
    let first = reader.next().transpose()?;
    if first.as_ref().is_none_or(|some| some.prompt(0).is_some()) {
        return Ok(stored);
    }
    let aside = files.prompts_aside(plan, chunk);
    if !aside.exists() {
        let draft = files.draft(&format!("again-{plan}-{chunk}.parquet"));
        let mut writer = RequestsWriter::create(&draft, true)?;
        if input.attacher.is_some() {
            writer = writer.with_attachments();
        }
        if first.is_some_and(|some| some.has_corrections()) {
            writer = writer.with_corrections();
        }
        let wanted = WantedRequests {
            reader: RequestsReader::open(again()?, RequestColumns::All)?,
            some: None,
        };
        render_again(input, template, wanted, &mut writer).await?;
        writer.finish()?;
        std::fs::rename(&draft, &aside).or_err(ErrorKind::Unavailable, SCRATCH)?;
    }
    File::open(&aside).or_err(ErrorKind::Unavailable, SCRATCH)
}

const SCRATCH: &str = "cannot use the scratch folder";

/// The requests that are wanted, one after the other; their rows ascend.
struct WantedRequests {
    reader: RequestsReader,
    some: Option<(Requests, usize)>,
}

impl WantedRequests {
    /// The next request: the requests that it is among, and its place there.
    fn next(&mut self) -> Result<Option<(Requests, usize)>> {
        loop {
            match self.some.take() {
                Some((some, at)) if at < some.len() => {
                    self.some = Some((some.clone(), at + 1));
                    return Ok(Some((some, at)));
                }
                _ => match self.reader.next().transpose()? {
                    Some(some) => self.some = Some((some, 0)),
                    None => return Ok(None),
                },
            }
        }
    }
}

async fn render_again(
    input: &PlanInput<'_>,
    mut template: Template,
    mut wanted: WantedRequests,
    writer: &mut RequestsWriter,
) -> Result<()> {
    let Some(mut next) = wanted.next()? else {
        return Ok(());
    };
    let ids = match input.key {
        [] => None,
        key => Some(RowIds::new(input.source.schema(), key)?),
    };
    let scan = input.scan().from(next.0.rows.value(next.1));
    let mut slices = input.source.scan(scan).await?;
    let mut prompts = Prompts::default();
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        template.render(&slice.batch, &mut prompts)?;
        let keys = ids
            .as_ref()
            .map(|ids| ids.encode(&slice.batch))
            .transpose()?;
        let attached = found(input.attacher, &slice.batch, template.columns(), &prompts).await?;
        for (at, row) in slice.rows.iter().enumerate() {
            let (some, place) = &next;
            if some.rows.value(*place) != row {
                continue;
            }
            let Some(Prompt::Text(text)) = prompts.get(at) else {
                return Err(changed(row));
            };
            let InputFit::Asks(text) = input.fit(text) else {
                return Err(changed(row));
            };
            let attachments = match attached.get(at) {
                None => &[][..],
                Some(Ok(attachments)) => attachments,
                Some(Err(_)) => return Err(changed(row)),
            };
            let content = Content {
                text,
                attachments,
                correction: some.correction(*place),
            };
            let own = row.to_le_bytes();
            let id = keys.as_ref().map(|keys| keys.row(at));
            let id = id.as_ref().map_or(&own[..], AsRef::as_ref);
            let key = input.keyer.key_of(content, (!input.dedupe).then_some(id));
            if key != some.key(*place) {
                return Err(changed(row));
            }
            let ordinal = some.ordinals.value(*place);
            match some.place(*place) {
                Some(line) => writer.push_at(line, (ordinal, row, key), content)?,
                None => writer.push(ordinal, row, key, content)?,
            }
            match wanted.next()? {
                Some(more) => next = more,
                None => return Ok(()),
            }
        }
    }
    Err(changed(next.0.rows.value(next.1)))
}

fn changed(row: u64) -> Error {
    Error::invalid("a row that is to be sent again is not what it was, and its prompt was not kept")
        .with("row", row)
        .hint("the source changed; restore it, or delete nothing and run `columnist run` again after `columnist cancel`")
}
