//! What a remote is made from, read out of the trait; or one sentence for each thing that is wrong.

use std::fmt::Display;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Generics, Item, ItemTrait, LitStr, Meta, Pat,
    PatIdent, PatType, PathArguments, Receiver, Result, ReturnType, Signature, TraitItem,
    TraitItemFn, Type,
};

/// A trait that can be a remote.
pub(crate) struct Remote {
    pub(crate) kind: LitStr,
    pub(crate) item: ItemTrait,
    pub(crate) methods: Vec<Method>,
}

/// One of its methods, as callers see it.
pub(crate) struct Method {
    /// The attributes that its callers need too.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) args: Vec<Ident>,
    pub(crate) types: Vec<Type>,
    /// The `T` of its `Result<T>`.
    pub(crate) result: Type,
    pub(crate) oneway: bool,
}

impl Remote {
    pub(crate) fn read(kind: TokenStream, item: TokenStream) -> Result<Remote> {
        let kind = read_kind(kind)?;
        let item = match syn::parse2(item)? {
            Item::Trait(item) => item,
            other => return refuse(other, "`#[remote]` goes on a trait"),
        };
        check_concrete(&item.generics)?;
        let mut methods = Vec::new();
        let mut errors: Option<Error> = None;
        for method in item.items.iter().map(Method::read) {
            match (method, &mut errors) {
                (Ok(method), _) => methods.push(method),
                (Err(error), None) => errors = Some(error),
                (Err(error), Some(errors)) => errors.combine(error),
            }
        }
        match errors {
            None => Ok(Remote { kind, item, methods }),
            Some(errors) => Err(errors),
        }
    }
}

impl Method {
    fn read(item: &TraitItem) -> Result<Method> {
        let TraitItem::Fn(method) = item else {
            return refuse(
                item,
                "a remote has methods and nothing else: put this in another trait",
            );
        };
        check_method(method)?;
        let (args, types) = read_args(&method.sig)?;
        let result = read_result(&method.sig)?;
        let oneway = read_oneway(method, &result)?;
        let is_for_callers = |attr: &&Attribute| {
            ["cfg", "deprecated", "doc"].iter().any(|name| attr.path().is_ident(name))
        };
        let attrs = method.attrs.iter().filter(is_for_callers).cloned().collect();
        Ok(Method { attrs, name: method.sig.ident.clone(), args, types, result, oneway })
    }
}

/// Whether an attribute is `#[oneway]`, which is ours alone.
pub(crate) fn is_oneway(attr: &Attribute) -> bool {
    attr.path().is_ident("oneway")
}

fn read_kind(kind: TokenStream) -> Result<LitStr> {
    const WANTED: &str = "say which kind of server has this remote: `#[remote(\"chat\")]`";
    let Ok(kind) = syn::parse2::<LitStr>(kind.clone()) else {
        return refuse(kind, WANTED);
    };
    let text = kind.value();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=64).contains(&text.len()) || !text.bytes().all(fits) {
        return refuse(kind, "the kind of a server is 1 to 64 letters, digits, `_` and `-`");
    }
    Ok(kind)
}

fn check_concrete(generics: &Generics) -> Result<()> {
    const WANTED: &str = "servers call a remote by name, so nothing in it is generic: \
                          write the types themselves";
    if !generics.params.is_empty() {
        return refuse(&generics.params, WANTED);
    }
    match &generics.where_clause {
        Some(clause) => refuse(clause, WANTED),
        None => Ok(()),
    }
}

fn check_method(method: &TraitItemFn) -> Result<()> {
    let name = &method.sig.ident;
    if name == "serve" || name == "server" {
        let taken =
            format!("`#[remote]` writes a method `{name}` itself: give this one another name");
        return refuse(name, taken);
    }
    if method.sig.asyncness.is_none() {
        let wanted = format!("a remote is called over the network: write `async fn {name}`");
        return refuse(method.sig.fn_token, wanted);
    }
    if let Some(keyword) = &method.sig.unsafety {
        return refuse(
            keyword,
            "a remote's method is called from afar, so it is safe: leave out `unsafe`",
        );
    }
    if let Some(body) = &method.default {
        return refuse(
            body,
            "a remote's method ends with `;` here: write its body where the trait is implemented",
        );
    }
    check_concrete(&method.sig.generics)
}

fn read_args(sig: &Signature) -> Result<(Vec<Ident>, Vec<Type>)> {
    // serde reads and writes tuples up to this long.
    const MOST: usize = 16;
    let mut inputs = sig.inputs.iter();
    match inputs.next() {
        Some(FnArg::Receiver(Receiver {
            reference: Some((_, None)),
            mutability: None,
            colon_token: None,
            ..
        })) => {}
        Some(FnArg::Receiver(me)) => {
            return refuse(
                me,
                "a remote answers many calls at once, so its methods take `&self`: \
                 put what changes behind a lock",
            );
        }
        Some(FnArg::Typed(arg)) => return refuse(arg, NO_SELF),
        None => return refuse(&sig.ident, NO_SELF),
    }
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for input in inputs {
        let FnArg::Typed(arg) = input else { continue };
        check_sent(&arg.ty, "an argument")?;
        names.push(read_name(arg)?);
        types.push((*arg.ty).clone());
    }
    match names.get(MOST) {
        Some(extra) => {
            refuse(extra, "a remote's method takes at most 16 arguments: put them in a struct")
        }
        None => Ok((names, types)),
    }
}

const NO_SELF: &str = "a remote's methods take `&self` first";

fn read_name(arg: &PatType) -> Result<Ident> {
    if let Some(attr) = arg.attrs.first() {
        return refuse(attr, "an argument of a remote has no attributes: remove this one");
    }
    match &*arg.pat {
        Pat::Ident(PatIdent { by_ref: None, mutability: None, subpat: None, ident, .. }) => {
            Ok(ident.clone())
        }
        pat => refuse(
            pat,
            "an argument of a remote is a plain name here: \
             take it apart where the trait is implemented",
        ),
    }
}

fn read_result(sig: &Signature) -> Result<Type> {
    const WANTED: &str = "a call can fail, so a remote's method returns `Result<T>`: \
                          write `-> Result<()>` if it gives nothing";
    let ReturnType::Type(_, output) = &sig.output else {
        return refuse(&sig.ident, WANTED);
    };
    match result_of(output) {
        Some(result) => check_sent(result, "a result").map(|()| result.clone()),
        None => refuse(output, WANTED),
    }
}

/// The `T` of `Result<T>` and of `Result<T, E>`, however the path to it begins.
fn result_of(output: &Type) -> Option<&Type> {
    let Type::Path(path) = output else {
        return None;
    };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(types) = &last.arguments else {
        return None;
    };
    match types.args.first()? {
        GenericArgument::Type(result) if types.args.len() <= 2 => Some(result),
        _ => None,
    }
}

fn read_oneway(method: &TraitItemFn, result: &Type) -> Result<bool> {
    let Some(attr) = method.attrs.iter().find(|attr| is_oneway(attr)) else {
        return Ok(false);
    };
    if !matches!(attr.meta, Meta::Path(_)) {
        return refuse(attr, "`#[oneway]` takes no arguments");
    }
    match result {
        Type::Tuple(unit) if unit.elems.is_empty() => Ok(true),
        _ => refuse(
            result,
            "nobody waits for what a one-way method gives: let it return `Result<()>`",
        ),
    }
}

/// That a value of this type can be written on one server and read on another, as far as can be seen from here.
fn check_sent(ty: &Type, what: &str) -> Result<()> {
    let sentence = |token: &TokenTree| match token {
        TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '\'') => Some(format!(
            "{what} is sent to another server, so it borrows nothing: \
             `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`"
        )),
        TokenTree::Ident(ident) if ident == "impl" => Some(format!(
            "{what} is read again on another server: write its type instead of `impl`"
        )),
        TokenTree::Ident(ident) if ident == "Self" => Some(format!(
            "{what} is read again on another server, where there is no `Self`: write the type's name"
        )),
        _ => None,
    };
    match find(ty.to_token_stream(), &sentence) {
        Some(sentence) => refuse(ty, sentence),
        None => Ok(()),
    }
}

/// What `sentence` says about the first token it has something to say about.
fn find(tokens: TokenStream, sentence: &impl Fn(&TokenTree) -> Option<String>) -> Option<String> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => find(group.stream(), sentence),
        token => sentence(&token),
    })
}

fn refuse<T>(written: impl ToTokens, sentence: impl Display) -> Result<T> {
    Err(Error::new_spanned(written, sentence))
}
