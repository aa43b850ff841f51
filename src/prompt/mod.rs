//! The prompt: a template and a row make the text that is sent.
