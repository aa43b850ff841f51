//! The crate's modules as the compiler sees them, read with `syn`: which file each stands in, what it
//! imports, and every path that its code names. What is compiled for tests alone is left out.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, UseTree, Visibility};

/// Sources by their paths under `src`, with `/`.
pub(super) type Files = BTreeMap<String, String>;
/// Names between `::`, from the crate's root for a module, as written for what code names.
pub(super) type Names = Vec<String>;

/// One module: a file, or one in braces within a file.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The file that it stands in.
    pub(super) file: String,
    /// What it brings into its scope, by the name it has there; as written.
    pub(super) imports: BTreeMap<String, Import>,
    /// Every other path that its code names, as written.
    pub(super) paths: BTreeSet<Names>,
}

/// A name that a `use` brings into scope.
#[derive(Debug)]
pub(super) struct Import {
    pub(super) path: Names,
    /// Whether others may import it from here.
    pub(super) is_public: bool,
}

/// All modules of a crate, by their names from its root.
pub(super) fn modules(files: &Files) -> BTreeMap<Names, Module> {
    let mut found = BTreeMap::new();
    let text = &files["lib.rs"];
    let root = syn::parse_file(text).expect("Rust");
    enter(files, "lib.rs", &[], &root.items, &mut found);
    found
}

/// Takes in the module `home` of `file` with everything beneath it.
fn enter(
    files: &Files,
    file: &str,
    home: &[String],
    items: &[Item],
    found: &mut BTreeMap<Names, Module>,
) {
    let mut reader = Reader::default();
    for item in items {
        reader.visit_item(item);
    }
    for (name, inner) in reader.children {
        let path = [home, &[name]].concat();
        if let Some(items) = inner {
            enter(files, file, &path, items, found);
            continue;
        }
        let beside = format!("{}.rs", path.join("/"));
        let front = format!("{}/mod.rs", path.join("/"));
        let file = [beside, front]
            .into_iter()
            .find(|file| files.contains_key(file))
            .unwrap_or_else(|| panic!("{file} declares {}, which has no file", path.join("::")));
        let parsed = syn::parse_file(&files[&file]).expect("Rust");
        enter(files, &file, &path, &parsed.items, found);
    }
    file.clone_into(&mut reader.module.file);
    found.insert(home.to_owned(), reader.module);
}

/// Reads one module's items.
#[derive(Default)]
struct Reader<'s> {
    module: Module,
    /// The modules that it declares; with their items where they stand in braces.
    children: Vec<(String, Option<&'s [Item]>)>,
}

impl<'ast> Visit<'ast> for Reader<'ast> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(function) => &function.attrs[..],
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let items = module.content.as_ref().map(|(_, items)| &items[..]);
        self.children.push((module.ident.to_string(), items));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &mut Vec::new(), is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        // One small name alone is a variable, most of the time; calls are taken below.
        if names.len() > 1 || names[0].starts_with(char::is_uppercase) {
            self.module.paths.insert(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(name) = function.path.get_ident()
        {
            self.module.paths.insert(vec![name.to_string()]);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.paths_among(called.tokens.clone());
    }

    /// `pub(in path)` and `pub(super)` depend on nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

impl Reader<'_> {
    /// Takes in the names of a `use`, `before` being what leads to them.
    fn import(&mut self, tree: &UseTree, before: &mut Names, is_public: bool) {
        let (name, last) = match tree {
            UseTree::Path(step) => {
                before.push(step.ident.to_string());
                self.import(&step.tree, before, is_public);
                before.pop();
                return;
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, is_public);
                }
                return;
            }
            UseTree::Glob(_) => {
                self.module.paths.insert(before.clone());
                return;
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(name) => (name.rename.to_string(), name.ident.to_string()),
        };
        let mut path = before.clone();
        let name = if last == "self" {
            path.last().expect("a module").clone()
        } else {
            path.push(last);
            name
        };
        if name == "_" {
            self.module.paths.insert(path);
        } else {
            self.module.imports.insert(name, Import { path, is_public });
        }
    }

    /// The paths in a macro's argument, which is not parsed: names with `::` between them.
    fn paths_among(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Names::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end_path(&mut path);
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    self.paths_among(group.stream());
                }
                _ => self.end_path(&mut path),
            }
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Names) {
        let path = std::mem::take(path);
        if !path.is_empty() {
            self.module.paths.insert(path);
        }
    }
}

/// Whether something is compiled for tests alone.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

/// The attributes of an item, of all kinds that tests have for themselves.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(syn::ItemConst { attrs, .. })
        | Item::Enum(syn::ItemEnum { attrs, .. })
        | Item::Fn(syn::ItemFn { attrs, .. })
        | Item::Impl(syn::ItemImpl { attrs, .. })
        | Item::Mod(syn::ItemMod { attrs, .. })
        | Item::Static(syn::ItemStatic { attrs, .. })
        | Item::Struct(syn::ItemStruct { attrs, .. })
        | Item::Trait(syn::ItemTrait { attrs, .. })
        | Item::Type(syn::ItemType { attrs, .. })
        | Item::Use(syn::ItemUse { attrs, .. }) => attrs,
        _ => &[],
    }
}
