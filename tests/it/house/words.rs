//! The words that code holds: its names, and the texts in it. Docs and tests are left out.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item};

use super::modules::{attributes, is_for_tests};

/// What stands in a file's production code.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The names of its items, fields and variables, and those that it uses.
    pub(super) names: BTreeSet<String>,
    /// Its string literals.
    pub(super) texts: BTreeSet<String>,
}

impl Words {
    /// Those of a file.
    pub(super) fn of(text: &str) -> Words {
        let mut words = Words::default();
        let file = syn::parse_file(text).expect("Rust");
        for item in &file.items {
            words.visit_item(item);
        }
        words
    }

    fn take(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(name) => self.visit_ident(&name),
                TokenTree::Group(group) => self.take(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(literal) = syn::parse_str(&literal.to_string()) {
                        self.visit_lit(&literal);
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Words {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let is_for_tests = matches!(item, ImplItem::Fn(function) if is_for_tests(&function.attrs));
        if !is_for_tests {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_ident(&mut self, name: &proc_macro2::Ident) {
        self.names.insert(name.to_string());
    }

    fn visit_lit(&mut self, literal: &syn::Lit) {
        match literal {
            syn::Lit::Str(text) => {
                self.texts.insert(text.value());
            }
            syn::Lit::ByteStr(bytes) => {
                let text = String::from_utf8_lossy(&bytes.value()).into_owned();
                self.texts.insert(text);
            }
            _ => {}
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.take(called.tokens.clone());
    }

    /// What a derive is told is code; a doc comment is none.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.take(list.tokens.clone());
        }
    }
}
