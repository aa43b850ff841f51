//! What is measured: a job for each kind of answer, and for each road that is another.

/// A job.
pub(crate) struct Job {
    /// Its name, on the command line and in the table of figures.
    pub(crate) name: &'static str,
    /// The dialect that the provider speaks.
    pub(crate) dialect: &'static str,
    /// The table that it reads.
    pub(crate) table: Table,
    /// Whether it reads it by a SQL query, whose result is kept as a snapshot first.
    is_query: bool,
    model: &'static str,
    prompt: &'static str,
    answer: &'static str,
}

/// A table of [`tables`](crate::tables).
#[derive(Clone, Copy)]
pub(crate) enum Table {
    /// Support tickets of a thousand bytes.
    Tickets,
    /// A picture a row.
    Pictures,
}

pub(crate) const QUERY: &str = "SELECT id, subject, body FROM tickets WHERE length(body) > 0";

const OPENAI: Job = Job {
    name: "text",
    dialect: "openai",
    table: Table::Tickets,
    is_query: false,
    model: "use = 'openai/gpt-6-luna'\nmax_output_tokens = 16",
    prompt: "user = '''Classify this support ticket as one of: billing, shipping, refund, technical, \
        account, praise, spam, other. Answer with the label only.\n\nSubject: {{ subject }}\n\n{{ body }}\n\nLabel:'''",
    answer: "type = 'text'",
};
const ANTHROPIC: Job = Job {
    dialect: "anthropic",
    model: "use = 'anthropic/claude-haiku-4-5'\nmax_output_tokens = 16",
    ..OPENAI
};

pub(crate) const ALL: [Job; 9] = [
    OPENAI,
    ANTHROPIC,
    Job {
        name: "query",
        is_query: true,
        ..OPENAI
    },
    Job {
        name: "choice",
        answer: CHOICE,
        ..OPENAI
    },
    Job {
        name: "fields",
        model: "use = 'openai/gpt-6-luna'\nmax_output_tokens = 400",
        answer: FIELDS,
        ..OPENAI
    },
    Job {
        name: "fields",
        model: "use = 'anthropic/claude-haiku-4-5'\nmax_output_tokens = 400",
        answer: FIELDS,
        ..ANTHROPIC
    },
    Job {
        name: "embedding",
        model: "use = 'openai/text-embedding-3-small'",
        prompt: "user = '''{{ subject }}\n\n{{ body }}'''",
        answer: "type = 'embedding'\ndimensions = 1536",
        ..OPENAI
    },
    Job {
        name: "pictures",
        table: Table::Pictures,
        prompt: PICTURE,
        ..OPENAI
    },
    Job {
        name: "pictures",
        table: Table::Pictures,
        prompt: PICTURE,
        ..ANTHROPIC
    },
];

const CHOICE: &str = "type = 'choice'
choices = ['billing', 'shipping', 'refund', 'technical', 'account', 'praise', 'spam', 'other']";
const FIELDS: &str = "type = 'json'
[answer.fields]
label = { choices = ['billing', 'shipping', 'refund', 'technical', 'account', 'other'] }
urgency = 'SMALLINT'
angry = 'BOOLEAN'
score = 'DOUBLE'
total = { type = 'DECIMAL(12,2)', nullable = true }
due = { type = 'DATE', nullable = true }
seen = 'TIMESTAMP'
customer = 'VARCHAR'
tags = 'VARCHAR[]'
lines = 'STRUCT(sku VARCHAR, qty INT)[]'";
const PICTURE: &str = "user = 'What is on this picture?'\nimages = ['photo']";

impl Job {
    /// The job file, for a provider at `url`.
    pub(crate) fn file(&self, url: &str) -> String {
        let source = if self.is_query {
            "query = 'tickets.sql'\ntables = { tickets = 'table.parquet' }"
        } else {
            "table = 'table.parquet'"
        };
        let Job {
            model,
            prompt,
            answer,
            ..
        } = self;
        format!(
            "name = 'bench'\n[source]\n{source}\nkey = ['id']\n\
             [prompt]\n{prompt}\ndedupe = false\n\
             [model]\n{model}\nbase_url = '{url}'\npoll_min = '1s'\npoll_max = '1s'\n\
             [output]\npath = 'out.parquet'\n\
             [ledger]\npath = 'ledger/'\n\
             [answer]\ncolumn = 'answer'\n{answer}\n"
        )
    }
}
