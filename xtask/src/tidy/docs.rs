//! Public items are documented.
//!
//! A walk over the syntax, so that the rule also holds where rustdoc's lint does not look: in code behind a `cfg`, in
//! private files whose items are re-exported, and in binaries. Test modules are exempt. What is checked: functions,
//! types, traits and their items, constants, statics, inline modules, exported macros, public fields, enum
//! variants and their named fields, methods of inherent implementations, and the file of a public module.

use std::path::{Path, PathBuf};

use syn::{Attribute, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemMod, ItemTrait, TraitItem, Visibility};

use super::{Finding, SourceFile};

/// Objects to public items without documentation in the crates' sources.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let sources: Vec<_> = files.iter().filter(|file| is_source(&file.path)).collect();
    let mut findings = Vec::new();
    for file in &sources {
        match syn::parse_file(&file.text) {
            Ok(syntax) => {
                let mut walk = Walk { path: &file.path, findings: &mut findings, modules: Vec::new() };
                walk.items(&syntax.items);
                let modules = walk.modules;
                for (name, line) in modules {
                    check_module_file(file, &name, line, &sources, &mut findings);
                }
            }
            Err(error) => {
                let line = error.span().start().line;
                findings.push(Finding::error(&file.path, line, format!("cannot be parsed: {error}")));
            }
        }
    }
    findings
}

/// Sources of the crates without their tests.
fn is_source(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let in_source = text.starts_with("crates/") && text.contains("/src/") && text.ends_with(".rs");
    in_source && !text.ends_with("/tests.rs") && !text.contains("/tests/")
}

/// A public module in a file of its own is documented by that file's first lines.
fn check_module_file(
    parent: &SourceFile,
    name: &str,
    line: usize,
    sources: &[&SourceFile],
    findings: &mut Vec<Finding>,
) {
    let directory = module_directory(&parent.path);
    let places = [directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs")];
    // A module at another place (`#[path]`, generated) is left to rustdoc.
    let Some(file) = sources.iter().find(|file| places.contains(&file.path)) else { return };
    if !syn::parse_file(&file.text).is_ok_and(|syntax| is_documented(&syntax.attrs)) {
        let message = format!("the public module `{name}` has no documentation: start its file with `//!`");
        findings.push(Finding::error(&parent.path, line, message));
    }
}

/// Where the children of the module in `path` lie.
fn module_directory(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default();
    let parent = path.parent().unwrap_or(Path::new(""));
    if ["lib", "main", "mod"].iter().any(|name| stem == *name) {
        parent.to_owned()
    } else {
        parent.join(stem)
    }
}

struct Walk<'a> {
    path: &'a Path,
    findings: &'a mut Vec<Finding>,
    /// Public modules in files of their own: name and line.
    modules: Vec<(String, usize)>,
}

impl Walk<'_> {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Fn(item) => self.public(&item.vis, &item.attrs, &item.sig.ident),
            Item::Const(item) => self.public(&item.vis, &item.attrs, &item.ident),
            Item::Static(item) => self.public(&item.vis, &item.attrs, &item.ident),
            Item::Type(item) => self.public(&item.vis, &item.attrs, &item.ident),
            Item::Union(item) => self.public(&item.vis, &item.attrs, &item.ident),
            Item::Struct(item) => {
                self.public(&item.vis, &item.attrs, &item.ident);
                if is_public(&item.vis) && !is_hidden(&item.attrs) {
                    self.fields(&item.fields, false);
                }
            }
            Item::Enum(item) => self.enumeration(item),
            Item::Trait(item) => self.trait_items(item),
            Item::Impl(item) => self.methods(item),
            Item::Mod(item) => self.module(item),
            Item::Macro(item) if item.attrs.iter().any(|attr| attr.path().is_ident("macro_export")) => {
                if let Some(name) = &item.ident {
                    self.require(&item.attrs, name);
                }
            }
            _ => {}
        }
    }

    fn module(&mut self, item: &ItemMod) {
        if is_test(&item.attrs) || is_hidden(&item.attrs) {
            return;
        }
        match &item.content {
            // Nobody outside can name what lies in a private inline module (the idiom of sealed traits).
            Some((_, items)) if is_public(&item.vis) => {
                self.public(&item.vis, &item.attrs, &item.ident);
                self.items(items);
            }
            Some(_) => {}
            None if is_public(&item.vis) && !is_documented(&item.attrs) => {
                self.modules.push((item.ident.to_string(), item.ident.span().start().line));
            }
            None => {}
        }
    }

    fn enumeration(&mut self, item: &ItemEnum) {
        self.public(&item.vis, &item.attrs, &item.ident);
        if !is_public(&item.vis) || is_hidden(&item.attrs) {
            return;
        }
        for variant in &item.variants {
            self.require(&variant.attrs, &variant.ident);
            if !is_hidden(&variant.attrs) {
                self.fields(&variant.fields, true);
            }
        }
    }

    fn trait_items(&mut self, item: &ItemTrait) {
        self.public(&item.vis, &item.attrs, &item.ident);
        if !is_public(&item.vis) || is_hidden(&item.attrs) {
            return;
        }
        for member in &item.items {
            match member {
                TraitItem::Fn(member) => self.require(&member.attrs, &member.sig.ident),
                TraitItem::Const(member) => self.require(&member.attrs, &member.ident),
                TraitItem::Type(member) => self.require(&member.attrs, &member.ident),
                _ => {}
            }
        }
    }

    fn methods(&mut self, item: &ItemImpl) {
        if item.trait_.is_some() || is_hidden(&item.attrs) || is_test(&item.attrs) {
            return;
        }
        for member in &item.items {
            match member {
                ImplItem::Fn(member) => self.public(&member.vis, &member.attrs, &member.sig.ident),
                ImplItem::Const(member) => self.public(&member.vis, &member.attrs, &member.ident),
                _ => {}
            }
        }
    }

    /// Named fields: the public ones of a struct, all of a variant.
    fn fields(&mut self, fields: &Fields, of_variant: bool) {
        for field in fields {
            if let Some(name) = &field.ident
                && (of_variant || is_public(&field.vis))
            {
                self.require(&field.attrs, name);
            }
        }
    }

    fn public(&mut self, visibility: &Visibility, attributes: &[Attribute], name: &syn::Ident) {
        if is_public(visibility) && !is_test(attributes) {
            self.require(attributes, name);
        }
    }

    fn require(&mut self, attributes: &[Attribute], name: &syn::Ident) {
        if is_documented(attributes) || is_hidden(attributes) {
            return;
        }
        let message = format!("`{name}` is public and undocumented: say meaning, units, errors, limits");
        self.findings.push(Finding::error(self.path, name.span().start().line, message));
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_documented(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("doc") && !is_hiding(attribute))
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(is_hiding)
}

/// `#[doc(hidden)]`
fn is_hiding(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "hidden")
}

/// `#[cfg(test)]`
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
    })
}

#[cfg(test)]
mod tests;
