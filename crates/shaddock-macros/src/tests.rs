//! What `#[remote]` writes is what its documentation shows, and what it can't take it refuses in a sentence.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{File, Item};

use crate::expand::remote;

#[test]
fn the_documented_expansion_is_the_real_one() {
    let [written, documented] = &documented()[..] else { panic!("there are two blocks") };
    let mut written = written
        .items
        .iter()
        .find_map(|item| match item {
            Item::Trait(item) => Some(item.clone()),
            _ => None,
        })
        .unwrap();
    let line = written.attrs.pop().expect("the macro's line");
    let kind: TokenStream = line.parse_args().unwrap();
    let real: File = syn::parse2(remote(kind, quote!(#written)).unwrap()).unwrap();

    assert_eq!(real.items.len(), documented.items.len());
    for (real, documented) in real.items.iter().zip(&documented.items) {
        assert_eq!(shortened(real), shortened(documented));
    }
}

#[test]
fn a_method_that_may_be_left_out_is_left_out_everywhere() {
    let written = quote! {
        trait ChatRemote {
            #[cfg(unix)]
            async fn fork(&self) -> Result<u8>;
        }
    };
    let expanded = remote(quote!("chat"), written).unwrap().to_string();
    // In the trait, in the list, among the arms, and in both clients.
    assert_eq!(expanded.matches("# [cfg (unix)]").count(), 5, "{expanded}");
}

#[test]
fn raw_names_are_sent_without_their_mark() {
    let written = quote!(
        trait r#Enum {
            async fn r#type(&self, r#fn: u8) -> Result<()>;
        }
    );
    let expanded = remote(quote!("chat"), written).unwrap().to_string();
    assert!(expanded.contains(r#"call ("Enum" , "type" , & (r#fn ,))"#), "{expanded}");
}

#[test]
fn a_kind_is_one_word_in_quotes() {
    let refused = |kind| {
        refused_trait(
            kind,
            quote!(
                trait Remote {}
            ),
        )
    };
    let wanted = "say which kind of server has this remote: `#[remote(\"chat\")]`";
    assert_eq!(refused(quote!()), wanted);
    assert_eq!(refused(quote!(chat)), wanted);
    assert_eq!(refused(quote!("chat", "gate")), wanted);
    let letters = "the kind of a server is 1 to 64 letters, digits, `_` and `-`";
    assert_eq!(refused(quote!("chat server")), letters);
    assert_eq!(refused(quote!("")), letters);
    assert!(
        remote(
            quote!("chat_server-2"),
            quote!(
                trait Remote {}
            )
        )
        .is_ok()
    );
}

#[test]
fn only_a_plain_trait_is_a_remote() {
    let refused = |item| refused_trait(quote!("chat"), item);
    assert_eq!(
        refused(quote!(
            struct Rooms;
        )),
        "`#[remote]` goes on a trait"
    );
    let generic =
        "servers call a remote by name, so nothing in it is generic: write the types themselves";
    assert_eq!(
        refused(quote!(
            trait Chat<T> {}
        )),
        generic
    );
    assert_eq!(
        refused(quote!(
            trait Chat
            where
                Self: Clone,
            {
            }
        )),
        generic
    );
    let methods = "a remote has methods and nothing else: put this in another trait";
    assert_eq!(
        refused_method(quote!(
            type Room;
        )),
        methods
    );
    assert_eq!(
        refused_method(quote!(
            const MOST: usize;
        )),
        methods
    );
}

#[test]
fn a_method_is_a_plain_async_fn() {
    assert_eq!(
        refused_method(quote!(
            fn kick(&self) -> Result<()>;
        )),
        "a remote is called over the network: write `async fn kick`",
    );
    assert_eq!(
        refused_method(quote!(
            async fn kick(&self) -> Result<()> {
                Ok(())
            }
        )),
        "a remote's method ends with `;` here: write its body where the trait is implemented",
    );
    assert_eq!(
        refused_method(quote!(
            async fn kick<T>(&self, it: T) -> Result<()>;
        )),
        "servers call a remote by name, so nothing in it is generic: write the types themselves",
    );
    assert_eq!(
        refused_method(quote!(
            async unsafe fn kick(&self) -> Result<()>;
        )),
        "a remote's method is called from afar, so it is safe: leave out `unsafe`",
    );
    for name in ["serve", "server"] {
        let name = quote::format_ident!("{name}");
        assert_eq!(
            refused_method(quote!(async fn #name(&self) -> Result<()>;)),
            format!("`#[remote]` writes a method `{name}` itself: give this one another name"),
        );
    }
}

#[test]
fn a_method_takes_itself_by_reference() {
    assert_eq!(
        refused_method(quote!(
            async fn kick() -> Result<()>;
        )),
        "a remote's methods take `&self` first",
    );
    assert_eq!(
        refused_method(quote!(
            async fn kick(uid: Uid) -> Result<()>;
        )),
        "a remote's methods take `&self` first",
    );
    for me in [quote!(&mut self), quote!(self), quote!(self: Arc<Self>), quote!(&'static self)] {
        assert_eq!(
            refused_method(quote!(async fn kick(#me) -> Result<()>;)),
            "a remote answers many calls at once, so its methods take `&self`: put what changes behind a lock",
        );
    }
}

#[test]
fn arguments_are_names_with_types_that_can_be_sent() {
    let refused =
        |arg: TokenStream| refused_method(quote!(async fn kick(&self, #arg) -> Result<()>;));
    let name = "an argument of a remote is a plain name here: take it apart where the trait is implemented";
    assert_eq!(refused(quote!((x, y): (u8, u8))), name);
    assert_eq!(refused(quote!(mut x: u8)), name);
    assert_eq!(refused(quote!(_: u8)), name);
    let borrowed = "an argument is sent to another server, so it borrows nothing: \
        `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`";
    assert_eq!(refused(quote!(room: &str)), borrowed);
    assert_eq!(refused(quote!(room: Option<(u8, &str)>)), borrowed);
    assert_eq!(refused(quote!(room: Cow<'static, str>)), borrowed);
    assert_eq!(
        refused(quote!(room: impl ToString)),
        "an argument is read again on another server: write its type instead of `impl`",
    );
    assert_eq!(
        refused(quote!(other: Self)),
        "an argument is read again on another server, where there is no `Self`: write the type's name",
    );
    assert_eq!(
        refused(quote!(#[cfg(unix)] room: String)),
        "an argument of a remote has no attributes: remove this one",
    );
    let many = |count: usize| {
        let args = (0..count).map(|n| quote::format_ident!("a{n}"));
        quote!(#(#args: u8),*)
    };
    assert_eq!(
        refused(many(17)),
        "a remote's method takes at most 16 arguments: put them in a struct"
    );
    let most = many(16);
    assert!(
        remote(quote!("chat"), quote!(trait T { async fn f(&self, #most) -> Result<()>; })).is_ok()
    );
}

#[test]
fn a_method_returns_a_result() {
    let wanted = "a call can fail, so a remote's method returns `Result<T>`: write `-> Result<()>` if it gives nothing";
    for output in [
        quote!(),
        quote!(-> u8),
        quote!(-> Option<u8>),
        quote!(-> (u8, u8)),
        quote!(-> Result),
        quote!(-> Result<u8, Fault, u8>),
        quote!(-> io::Error),
    ] {
        assert_eq!(refused_method(quote!(async fn kick(&self) #output;)), wanted, "{output}");
    }
    assert_eq!(
        refused_method(quote!(
            async fn kick(&self) -> Result<&'static str>;
        )),
        "a result is sent to another server, so it borrows nothing: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`",
    );
    for output in [quote!(Result<u8>), quote!(std::result::Result<u8, Fault>)] {
        let written = quote!(trait T { async fn f(&self) -> #output; });
        let expanded = remote(quote!("chat"), written).unwrap().to_string();
        assert!(
            expanded.contains("async fn f (& self ,) -> :: shaddock :: Result < u8 >"),
            "{expanded}"
        );
    }
}

#[test]
fn nobody_waits_for_a_one_way_method() {
    assert_eq!(
        refused_method(quote!(
            #[oneway]
            async fn note(&self) -> Result<u8>;
        )),
        "nobody waits for what a one-way method gives: let it return `Result<()>`",
    );
    assert_eq!(
        refused_method(quote!(
            #[oneway(true)]
            async fn note(&self) -> Result<()>;
        )),
        "`#[oneway]` takes no arguments",
    );
}

#[test]
fn every_wrong_method_is_told_at_once() {
    let written = quote! {
        trait ChatRemote {
            fn add(&self) -> Result<()>;
            async fn kick(&self);
            async fn count(&self) -> Result<usize>;
        }
    };
    let error = remote(quote!("chat"), written).unwrap_err();
    assert_eq!(error.into_iter().count(), 2);
}

/// The blocks of code in the documentation, without their hidden lines.
fn documented() -> Vec<File> {
    let blocks = include_str!("remote.md").split("```").skip(1).step_by(2);
    let shown = blocks.map(|block| {
        let lines = block.lines().skip(1).filter(|line| !line.starts_with("# "));
        syn::parse_file(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    });
    shown.collect()
}

/// An item with `::std::option::Option::Some` written as `Option::Some`, and so for all that is ours or std's.
fn shortened(item: &Item) -> String {
    let mut text = quote!(#item).to_string().replace("= r\"", "= \"");
    for mark in ["::", "(", ")"] {
        text = text.replace(mark, &format!(" {mark} "));
    }
    let mut words = text.split_whitespace().peekable();
    let mut short = Vec::new();
    while let Some(word) = words.next() {
        if word != "::" || words.next_if(|root| matches!(*root, "std" | "shaddock")).is_none() {
            short.push(word);
            continue;
        }
        while words.next_if_eq(&"::").is_some() {
            let Some(segment) = words.next() else { break };
            let is_module = segment.starts_with(char::is_lowercase);
            if !is_module || words.peek() != Some(&"::") {
                short.push(segment);
                break;
            }
        }
    }
    short.join(" ")
}

fn refused_trait(kind: TokenStream, item: TokenStream) -> String {
    remote(kind, item).unwrap_err().to_string()
}

fn refused_method(method: TokenStream) -> String {
    refused_trait(quote!("chat"), quote!(trait ChatRemote { #method }))
}
