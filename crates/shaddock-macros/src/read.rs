//! What a remote is made from, read out of the trait; or one sentence for each thing that is wrong.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Item, ItemTrait, LitStr, Meta, Pat, PatType,
    PathArguments, Result, ReturnType, Signature, TraitItem, TraitItemFn, Type,
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
            other => return Err(Error::new_spanned(other, "`#[remote]` goes on a trait")),
        };
        check_trait(&item)?;
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
            return Err(Error::new_spanned(
                item,
                "a remote has methods and nothing else: put this in another trait",
            ));
        };
        check_method(method)?;
        let oneway = is_oneway(method)?;
        let (args, types) = read_args(&method.sig)?;
        let result = read_result(&method.sig)?;
        if oneway && !is_unit(&result) {
            return Err(Error::new_spanned(
                &method.sig.output,
                "nobody waits for what a one-way method gives: let it return `Result<()>`",
            ));
        }
        let is_for_callers = |attr: &&Attribute| {
            ["cfg", "deprecated", "doc"].iter().any(|name| attr.path().is_ident(name))
        };
        Ok(Method {
            attrs: method.attrs.iter().filter(is_for_callers).cloned().collect(),
            name: method.sig.ident.clone(),
            args,
            types,
            result,
            oneway,
        })
    }
}

pub(crate) fn oneway(attr: &Attribute) -> bool {
    attr.path().is_ident("oneway")
}

fn read_kind(kind: TokenStream) -> Result<LitStr> {
    const WANTED: &str = "say which kind of server has this remote: `#[remote(\"chat\")]`";
    if kind.is_empty() {
        return Err(Error::new(proc_macro2::Span::call_site(), WANTED));
    }
    let kind: LitStr = syn::parse2(kind.clone()).map_err(|_| Error::new_spanned(kind, WANTED))?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=64).contains(&kind.value().len()) || !kind.value().bytes().all(fits) {
        return Err(Error::new_spanned(
            kind,
            "the kind of a server is 1 to 64 letters, digits, `_` and `-`",
        ));
    }
    Ok(kind)
}

fn check_trait(item: &ItemTrait) -> Result<()> {
    if let Some(keyword) = &item.unsafety {
        return Err(Error::new_spanned(keyword, "a remote is a safe trait: leave out `unsafe`"));
    }
    if let Some(keyword) = &item.auto_token {
        return Err(Error::new_spanned(keyword, "a remote is an ordinary trait: leave out `auto`"));
    }
    check_generics(&item.generics)
}

fn check_generics(generics: &syn::Generics) -> Result<()> {
    const CONCRETE: &str = "servers call a remote by name, so nothing in it is generic: write the types themselves";
    if !generics.params.is_empty() {
        return Err(Error::new_spanned(&generics.params, CONCRETE));
    }
    match &generics.where_clause {
        Some(clause) => Err(Error::new_spanned(clause, CONCRETE)),
        None => Ok(()),
    }
}

fn check_method(method: &TraitItemFn) -> Result<()> {
    let sig = &method.sig;
    let name = &sig.ident;
    if name == "serve" || name == "server" {
        let taken = format!("`#[remote]` writes a method `{name}` itself: give this one another name");
        return Err(Error::new_spanned(name, taken));
    }
    if sig.asyncness.is_none() {
        let wanted = format!("a remote is called over the network: write `async fn {name}`");
        return Err(Error::new_spanned(sig.fn_token, wanted));
    }
    if let Some(keyword) = &sig.constness {
        return Err(Error::new_spanned(keyword, "a remote's method is a plain `async fn`: leave out `const`"));
    }
    if let Some(keyword) = &sig.unsafety {
        return Err(Error::new_spanned(keyword, "a remote's method is a plain `async fn`: leave out `unsafe`"));
    }
    if let Some(abi) = &sig.abi {
        return Err(Error::new_spanned(abi, "a remote's method is a plain `async fn`: leave out `extern`"));
    }
    if let Some(body) = &method.default {
        return Err(Error::new_spanned(
            body,
            "a remote's method ends with `;` here: write its body where the trait is implemented",
        ));
    }
    check_generics(&sig.generics)
}

fn is_oneway(method: &TraitItemFn) -> Result<bool> {
    let Some(attr) = method.attrs.iter().find(|attr| oneway(attr)) else { return Ok(false) };
    match attr.meta {
        Meta::Path(_) => Ok(true),
        _ => Err(Error::new_spanned(attr, "`#[oneway]` takes no arguments")),
    }
}

fn read_args(sig: &Signature) -> Result<(Vec<Ident>, Vec<Type>)> {
    // serde reads and writes tuples up to this long.
    const MOST: usize = 16;
    let mut inputs = sig.inputs.iter();
    let first = inputs.next();
    match first {
        Some(FnArg::Receiver(me)) if me.colon_token.is_none() && me.mutability.is_none() && matches!(me.reference, Some((_, None))) => {}
        Some(FnArg::Receiver(me)) => return Err(Error::new_spanned(
            me,
            "a remote answers many calls at once, so its methods take `&self`: put what changes behind a lock",
        )),
        Some(FnArg::Typed(_)) | None => return Err(Error::new(
            sig.paren_token.span.open(),
            "a remote's methods take `&self` first",
        )),
    }
    let mut args = (Vec::new(), Vec::new());
    for input in inputs {
        let FnArg::Typed(input) = input else { continue };
        args.0.push(read_name(input)?);
        check_sent(&input.ty, "an argument")?;
        args.1.push((*input.ty).clone());
    }
    if let Some(extra) = args.0.get(MOST) {
        return Err(Error::new_spanned(extra, "a remote's method takes at most 16 arguments: put them in a struct"));
    }
    Ok(args)
}

fn read_name(arg: &PatType) -> Result<Ident> {
    if let Some(attr) = arg.attrs.first() {
        return Err(Error::new_spanned(attr, "an argument of a remote has no attributes: remove this one"));
    }
    match &*arg.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() => {
            Ok(pat.ident.clone())
        }
        pat => Err(Error::new_spanned(
            pat,
            "an argument of a remote is a plain name here: take it apart where the trait is implemented",
        )),
    }
}

fn read_result(sig: &Signature) -> Result<Type> {
    const WANTED: &str = "a call can fail, so a remote's method returns `Result<T>`: write `-> Result<()>` if it gives nothing";
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new_spanned(&sig.ident, WANTED));
    };
    let wrong = || Error::new_spanned(output, WANTED);
    let Type::Path(path) = &**output else { return Err(wrong()) };
    let last = path.path.segments.last().filter(|last| last.ident == "Result").ok_or_else(wrong)?;
    let PathArguments::AngleBracketed(generics) = &last.arguments else { return Err(wrong()) };
    let mut generics = generics.args.iter();
    match (generics.next(), generics.next(), generics.next()) {
        (Some(GenericArgument::Type(result)), None | Some(GenericArgument::Type(_)), None) => {
            check_sent(result, "a result")?;
            Ok(result.clone())
        }
        _ => Err(wrong()),
    }
}

fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// That a value of this type can be written on one server and read on another, as far as can be seen from here.
fn check_sent(ty: &Type, what: &str) -> Result<()> {
    let sentence = |token: &TokenTree| match token {
        TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '\'') => Some(format!(
            "{what} is sent to another server, so it borrows nothing: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`"
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
        Some(sentence) => Err(Error::new_spanned(ty, sentence)),
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
