//! Publishing: writes the output aside, checks it, and makes it visible at once.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use super::{Existing, Fence, Form, Publication, Published, PublishedFile, RUN_KEY, Target};
use crate::base::{Crash, Error, Location, Result};
use crate::output::place::examine::{blocking, examine};
use crate::output::place::layout::{FilePlan, plan};
use crate::output::place::local::Staging;
use crate::output::place::marker::success;
use crate::output::place::remote;
use crate::output::write::feed::RowFeed;
use crate::output::write::sink::Sink;
use crate::output::write::table::TableWriter;

/// Writes the source's table with its new columns to the target.
///
/// # Errors
/// `Invalid` if something that is not ours stands there and may not be replaced, or if the source
/// cannot be copied; `Internal` if there are more or fewer answers than rows; else as storage says.
/// After an error the old output is as it was; on object storage, a folder's old output may be
/// unfinished, without its `_SUCCESS`, and the next publishing goes on from there.
pub async fn publish(publication: Publication) -> Result<Published> {
    let Publication {
        sources,
        layout,
        columns,
        batches,
        identity,
        target,
        overwrite,
        staging_id,
        fence,
        crash,
    } = publication;
    let steps = Steps { crash, fence };
    check_identity(&identity)?;
    refuse_foreign(&target, overwrite).await?;
    let files = plan(&layout, &target, &sources)?;
    steps.visible("output.before_staging").await?;
    let stage = StagedOutput::open(&target, &identity, &files, &staging_id).await?;
    steps.point("output.after_staging").await;
    let (table, _until_dropped) = TableWriter::new(sources, layout, columns, identity);
    let table = Arc::new(table);
    let writer = Writer {
        table: Arc::clone(&table),
        stage: &stage,
        steps: &steps,
    };
    match writer.write_all(&files, batches).await {
        Ok(published) => {
            stage.reveal(&table.identity, &published, &steps).await?;
            Ok(published)
        }
        Err(error) => {
            stage.discard().await;
            Err(error)
        }
    }
}

/// Removes what a publishing that became visible left behind, when a crash kept it from doing so.
///
/// # Errors
/// As storage says. The output is whole in any case.
pub async fn clear(target: &Target) -> Result<()> {
    let form = target.form;
    match target.location.local.clone() {
        Some(path) => blocking(move || Staging::clear(&path, form)).await,
        None if form == Form::Folder => remote::clean(&target.location).await,
        None => Ok(()),
    }
}

fn check_identity(identity: &[(String, String)]) -> Result<()> {
    if identity.iter().any(|(key, _)| key == RUN_KEY) {
        Ok(())
    } else {
        Err(Error::internal("an output needs to say which run wrote it"))
    }
}

async fn refuse_foreign(target: &Target, overwrite: bool) -> Result<()> {
    match examine(target).await? {
        Existing::Foreign if !overwrite => Err(Error::invalid(
            "something that Columnist did not write stands where the output goes",
        )
        .with("path", &target.location.url)
        .hint("choose another `output.path`, or say `overwrite = true` in [output]")),
        _ => Ok(()),
    }
}

/// Where the output is while it is not visible.
enum StagedOutput {
    /// A file or a folder on disk.
    Disk(Staging, Form),
    /// One object.
    Object(Location),
    /// A folder on object storage.
    Objects(Location),
}

impl StagedOutput {
    async fn open(
        target: &Target,
        identity: &[(String, String)],
        files: &[FilePlan],
        id: &str,
    ) -> Result<StagedOutput> {
        let (location, form) = (target.location.clone(), target.form);
        if let Some(path) = location.local.clone() {
            let id = id.to_owned();
            let staging = blocking(move || Staging::prepare(&path, form, &id)).await?;
            return Ok(StagedOutput::Disk(staging, form));
        }
        if form == Form::File {
            return Ok(StagedOutput::Object(location));
        }
        let names = files.iter().map(|file| file.relative.clone());
        remote::begin(&location, identity, names).await?;
        Ok(StagedOutput::Objects(location))
    }

    /// Where the bytes of `file` go.
    fn sink(&self, file: &FilePlan, table: &TableWriter) -> Result<Sink> {
        let expected = table.sources[file.sources.clone()].iter();
        let expected = expected.map(|source| source.size).sum();
        let upload = |place: &Location| Sink::upload(place, expected, table.bridge.clone());
        match self {
            StagedOutput::Disk(staging, _) => Sink::create(staging.file(&file.relative)),
            StagedOutput::Object(place) => Ok(upload(place)),
            StagedOutput::Objects(folder) => Ok(upload(&remote::beneath(folder, &file.relative)?)),
        }
    }

    /// Makes what was written the output.
    async fn reveal(
        self,
        identity: &[(String, String)],
        published: &Published,
        steps: &Steps,
    ) -> Result<()> {
        match self {
            StagedOutput::Disk(staging, form) => reveal_on_disk(staging, form, steps).await,
            StagedOutput::Object(_) => Ok(()),
            StagedOutput::Objects(folder) => {
                let files = published.files.iter();
                let files: HashSet<_> = files.map(|file| file.relative.clone()).collect();
                steps.fence.pass()?;
                remote::delete_stale(&folder, &files).await?;
                steps.visible("output.before_success").await?;
                remote::succeed(&folder, success(identity, published)).await?;
                steps.point("output.after_success").await;
                steps.point("output.before_cleaning").await;
                remote::clean(&folder).await
            }
        }
    }

    /// Removes what was staged. Of a folder on object storage nothing can be taken back.
    async fn discard(self) {
        if let StagedOutput::Disk(staging, _) = self {
            let cleaned = blocking(move || {
                staging.clean();
                Ok(())
            });
            if let Err(error) = cleaned.await {
                tracing::warn!(%error, "cannot remove what was staged");
            }
        }
    }
}

async fn reveal_on_disk(staging: Staging, form: Form, steps: &Steps) -> Result<()> {
    if form == Form::Folder {
        let staging = staging.clone();
        blocking(move || staging.settle()).await?;
    }
    let revealing = staging.clone();
    let revealed = match steps.visible("output.before_rename").await {
        Ok(()) => blocking(move || revealing.reveal()).await,
        Err(error) => Err(error),
    };
    if revealed.is_ok() {
        steps.point("output.after_rename").await;
    }
    steps.point("output.before_cleaning").await;
    blocking(move || {
        staging.clean();
        Ok(())
    })
    .await?;
    revealed
}

/// What stands before the steps.
struct Steps {
    crash: Crash,
    fence: Fence,
}

impl Steps {
    async fn point(&self, name: &'static str) {
        self.crash.point(name).await;
    }

    /// Before a step after which something looks otherwise.
    async fn visible(&self, name: &'static str) -> Result<()> {
        self.point(name).await;
        self.fence.pass()
    }
}

/// Writes the output's files one after the other.
struct Writer<'p> {
    table: Arc<TableWriter>,
    stage: &'p StagedOutput,
    steps: &'p Steps,
}

impl Writer<'_> {
    async fn write_all(
        &self,
        files: &[FilePlan],
        batches: BoxStream<'static, Result<RecordBatch>>,
    ) -> Result<Published> {
        let (columns, bridge) = (Arc::clone(&self.table.columns), self.table.bridge.clone());
        let mut feed = RowFeed::new(columns, batches, bridge);
        let mut published = Published::default();
        for (at, file) in files.iter().enumerate() {
            self.steps.point("output.before_file").await;
            let is_last = at + 1 == files.len();
            let (written, rest) = self.write_file(file, feed, is_last).await?;
            published.files.push(written);
            feed = rest;
            self.steps.point("output.after_file").await;
        }
        Ok(published)
    }

    /// One file. The last one is finished only when no row is left over, so that an output of one
    /// object never appears with too few.
    async fn write_file(
        &self,
        file: &FilePlan,
        mut feed: RowFeed,
        is_last: bool,
    ) -> Result<(PublishedFile, RowFeed)> {
        let (table, plan) = (Arc::clone(&self.table), file.clone());
        let mut sink = self.stage.sink(file, &table)?;
        let (sink, rows, feed) = blocking(move || {
            let written = table.write(&plan, &mut feed, &mut sink);
            let checked = written.and_then(|rows| {
                if is_last {
                    feed.expect_end()?;
                }
                Ok(rows)
            });
            match checked {
                Ok(rows) => Ok((sink, rows, feed)),
                Err(error) => {
                    sink.abandon();
                    Err(error)
                }
            }
        })
        .await?;
        self.steps.visible("output.before_finish").await?;
        let bytes = blocking(move || sink.finish()).await?;
        let relative = file.relative.clone();
        let written = PublishedFile {
            relative,
            rows,
            bytes,
        };
        Ok((written, feed))
    }
}
