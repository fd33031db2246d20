//! What `#[remote]` writes: the trait, what serves it, and its clients.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::{Attribute, ItemTrait, Result, ReturnType, TraitItem, parse_quote};

use crate::read::{self, Method, Remote};

pub(crate) fn remote(kind: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let remote = Remote::read(kind, item)?;
    let (declared, client, client_of_all) =
        (declared(&remote), client(&remote), client_of_all(&remote));
    Ok(quote! { #declared #client #client_of_all })
}

/// The trait, as those who implement it see it.
fn declared(remote: &Remote) -> ItemTrait {
    let mut item = remote.item.clone();
    item.colon_token.get_or_insert_default();
    item.supertraits.push(parse_quote!(::std::marker::Send));
    item.supertraits.push(parse_quote!(::std::marker::Sync));
    item.supertraits.push(parse_quote!('static));
    for item in &mut item.items {
        let TraitItem::Fn(method) = item else {
            continue;
        };
        method.attrs.retain(|attr| !read::is_oneway(attr));
        method.sig.asyncness = None;
        if let ReturnType::Type(_, output) = &mut method.sig.output {
            *output = parse_quote! {
                impl ::std::future::Future<Output = #output> + ::std::marker::Send
            };
        }
    }
    item.items.push(serve(remote));
    item
}

fn serve(remote: &Remote) -> TraitItem {
    let Remote { kind, item, methods } = remote;
    let name = &item.ident;
    let wire_name = name.unraw().to_string();
    let service = format_ident!("{name}Service");
    let listed = methods.iter().map(|method| {
        let (cfgs, name) = (cfgs(method), method.wire_name());
        quote! { #(#cfgs)* #name }
    });
    let arms = methods.iter().map(|method| {
        let (cfgs, wire_name, tuple) = (cfgs(method), method.wire_name(), method.tuple());
        let Method { name: method, args, .. } = method;
        quote_spanned! { at(method) =>
            #(#cfgs)*
            #wire_name => ::std::option::Option::Some(::std::boxed::Box::pin(async move {
                let #tuple = ::shaddock::rpc::decode_args(&args)?;
                ::shaddock::rpc::encode_result(&#name::#method(&self.0, #(#args),*).await?)
            })),
        }
    });
    let doc = format!(" Serves this remote: for a `Server` of kind `{}`.", kind.value());
    let future = quote! {
        dyn ::std::future::Future<Output = ::shaddock::Result<::shaddock::rpc::Bytes>>
            + ::std::marker::Send
    };
    parse_quote! {
        #[doc = #doc]
        ///
        /// Each server of the kind, when it starts, has one made for itself by `make`.
        #[allow(deprecated)]
        fn serve<F>(make: F) -> ::shaddock::rpc::Remote
        where
            Self: ::std::marker::Sized,
            F: ::std::ops::Fn(&::shaddock::ServerHandle) -> Self
                + ::std::marker::Send
                + ::std::marker::Sync
                + 'static,
        {
            struct #service<R>(R);

            impl<R: #name> ::shaddock::rpc::RemoteService for #service<R> {
                fn call(
                    self: ::std::sync::Arc<Self>,
                    method: &str,
                    args: ::shaddock::rpc::Bytes,
                ) -> ::std::option::Option<::std::pin::Pin<::std::boxed::Box<#future>>> {
                    match method {
                        #(#arms)*
                        _ => ::std::option::Option::None,
                    }
                }
            }

            ::shaddock::rpc::Remote::new(#kind, #wire_name, &[#(#listed),*], move |server| {
                #service(make(server))
            })
        }
    }
}

/// The caller of one server.
fn client(remote: &Remote) -> TokenStream {
    let Remote { kind, item, methods } = remote;
    let (vis, name, remote_name) = (&item.vis, &item.ident, item.ident.unraw().to_string());
    let client = format_ident!("{name}Client");
    let client_of_all = format_ident!("{name}ClientAll");
    let methods = methods.iter().map(|method| {
        let (wire_name, tuple) = (method.wire_name(), method.tuple());
        let Method { attrs, name, args, types, result, oneway } = method;
        if *oneway {
            quote_spanned! { at(name) =>
                #(#attrs)*
                ///
                /// Does not wait. Fails if it could not be sent.
                #vis fn #name(&self, #(#args: #types),*) -> ::shaddock::Result<()> {
                    self.target.tell(#remote_name, #wire_name, &#tuple)
                }
            }
        } else {
            quote_spanned! { at(name) =>
                #(#attrs)*
                ///
                /// Fails as the method does, or if it could not be called.
                #vis async fn #name(&self, #(#args: #types),*) -> ::shaddock::Result<#result> {
                    self.target.call(#remote_name, #wire_name, &#tuple).await
                }
            }
        }
    });
    let doc = format!(" Calls [`{remote_name}`] on one server; `Rpc<{client}>` says on which.");
    quote! {
        #[doc = #doc]
        #[derive(::std::clone::Clone, ::std::fmt::Debug)]
        #vis struct #client {
            target: ::shaddock::rpc::Target,
        }

        #[allow(dead_code, clippy::too_many_arguments)]
        impl #client {
            /// Which server is called.
            #vis fn server(&self) -> &::shaddock::ServerId {
                self.target.server()
            }

            #(#methods)*
        }

        impl ::shaddock::rpc::RemoteClient for #client {
            const KIND: &'static str = #kind;
            type All = #client_of_all;

            fn to(target: ::shaddock::rpc::Target) -> Self {
                Self { target }
            }

            fn to_all(targets: ::shaddock::rpc::TargetAll) -> #client_of_all {
                #client_of_all { targets }
            }
        }
    }
}

/// The caller of every server of the kind.
fn client_of_all(remote: &Remote) -> TokenStream {
    let Remote { item, methods, .. } = remote;
    let (vis, name, remote_name) = (&item.vis, &item.ident, item.ident.unraw().to_string());
    let client = format_ident!("{name}ClientAll");
    let methods = methods.iter().map(|method| {
        let (wire_name, tuple) = (method.wire_name(), method.tuple());
        let Method { attrs, name, args, types, result, oneway } = method;
        if *oneway {
            quote_spanned! { at(name) =>
                #(#attrs)*
                ///
                /// Does not wait. Fails if it could not be sent to one; the others get it all the same.
                #vis fn #name(&self, #(#args: #types),*) -> ::shaddock::Result<()> {
                    self.targets.tell(#remote_name, #wire_name, &#tuple)
                }
            }
        } else {
            quote_spanned! { at(name) =>
                #(#attrs)*
                ///
                /// Waits for all of them, and says what each gave.
                #vis async fn #name(
                    &self,
                    #(#args: #types),*
                ) -> ::std::vec::Vec<(::shaddock::ServerId, ::shaddock::Result<#result>)> {
                    self.targets.call(#remote_name, #wire_name, &#tuple).await
                }
            }
        }
    });
    let doc = format!(" Calls [`{remote_name}`] on every server of its kind at once.");
    quote! {
        #[doc = #doc]
        #[derive(::std::clone::Clone, ::std::fmt::Debug)]
        #vis struct #client {
            targets: ::shaddock::rpc::TargetAll,
        }

        #[allow(dead_code, clippy::too_many_arguments)]
        impl #client {
            #(#methods)*
        }
    }
}

impl Method {
    fn wire_name(&self) -> String {
        self.name.unraw().to_string()
    }

    /// The arguments as one value: always a tuple, also of one or none.
    fn tuple(&self) -> TokenStream {
        match &*self.args {
            [only] => quote_spanned!(at(&self.name)=> (#only,)),
            args => quote_spanned!(at(&self.name)=> (#(#args),*)),
        }
    }
}

/// Where a method may be left out, so may what calls it.
fn cfgs(method: &Method) -> Vec<&Attribute> {
    method.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).collect()
}

/// Code of ours whose faults are the method's: that a type can't be sent is said where the method is.
fn at(method: &Ident) -> Span {
    Span::call_site().located_at(method.span())
}
