//! The bars of a terminal: the rows in a bar, and beneath it in words where they stand, what was
//! spent, and what is waited for.

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use crate::base::Time;
use crate::work::progress::{Progress, Waits};

use crate::cli::display::words;

/// The bars. They draw themselves, and no more than twenty times a second.
#[derive(Debug)]
pub(in crate::cli) struct Bars {
    all: MultiProgress,
    waiting: ProgressBar,
    plan: OnceLock<Plan>,
}

/// The bars of a plan, above what is waited for.
#[derive(Debug)]
struct Plan {
    rows: ProgressBar,
    now: ProgressBar,
    spent: ProgressBar,
}

/// What the bars show.
#[derive(Debug)]
pub(in crate::cli) struct View<'a> {
    /// Nothing before there is a plan.
    pub progress: Option<&'a Progress>,
    pub waits: &'a Waits,
    pub elapsed: Duration,
    pub left: Option<Duration>,
    pub now: Time,
}

/// How often the bars are drawn at most.
const DRAWS_PER_SECOND: u8 = 20;

/// A terminal whose cursor rests at the start of the last bar. At its end, where it would be left, the
/// `^C` that a terminal echoes wraps, and the bars could not be taken back.
#[derive(Debug)]
struct AtStart(Term);

impl TermLike for AtStart {
    fn width(&self) -> u16 {
        TermLike::width(&self.0)
    }

    fn height(&self) -> u16 {
        TermLike::height(&self.0)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.write_str("\r")?;
        self.0.flush()
    }
}

/// A line of words. What is too long for the terminal is cut: a line that wraps could not be taken back.
const LINE: &str = "{prefix:>7}  {wide_msg}";
/// A bar, and words behind it.
const BAR: &str = "{prefix:>7}  [{bar:24}] {wide_msg}";

impl Bars {
    /// Bars on standard error, which are drawn when there is something to show.
    pub(in crate::cli) fn new() -> Self {
        let terminal = Box::new(AtStart(Term::buffered_stderr()));
        let target = ProgressDrawTarget::term_like_with_hz(terminal, DRAWS_PER_SECOND);
        let all = MultiProgress::with_draw_target(target);
        Bars {
            waiting: all.add(bar("waiting", LINE)),
            plan: OnceLock::new(),
            all,
        }
    }

    /// What has to be told of whatever else is written to the terminal.
    pub(in crate::cli) fn all(&self) -> MultiProgress {
        self.all.clone()
    }

    pub(in crate::cli) fn show(&self, view: &View<'_>) {
        if let Some(progress) = view.progress {
            self.plan().show(progress, view);
        }
        let waiting = words::waiting(view.waits, view.now);
        let waiting = waiting.trim_start_matches("waiting ").to_owned();
        self.waiting.set_message(match view.progress {
            Some(_) => waiting,
            None => format!("{waiting}, {}", words::times(view.elapsed, None)),
        });
    }

    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| {
            let add = |prefix, template| {
                let bar = bar(prefix, template);
                self.all.insert_before(&self.waiting, bar)
            };
            Plan {
                rows: add("rows", BAR),
                now: add("now", LINE),
                spent: add("spent", LINE),
            }
        })
    }

    /// Takes the bars away.
    pub(in crate::cli) fn clear(&self) {
        if let Some(Plan { rows, now, spent }) = self.plan.get() {
            for bar in [rows, now, spent] {
                bar.finish_and_clear();
            }
        }
        self.waiting.finish_and_clear();
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

impl Plan {
    fn show(&self, progress: &Progress, view: &View<'_>) {
        self.rows.set_length(progress.rows);
        self.rows.set_position(progress.by_row().settled());
        let done = words::done(progress);
        let times = words::times(view.elapsed, view.left);
        self.rows.set_message(format!("{done}, {times}"));
        self.now.set_message(words::states(progress));
        let spent = words::spent(&progress.usage, progress.cost_micros);
        self.spent.set_message(spent);
    }
}

fn bar(prefix: &'static str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(0).with_style(style).with_prefix(prefix)
}
