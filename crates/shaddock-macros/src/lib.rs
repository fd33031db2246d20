//! The macros of Shaddock.
//!
//! There is one: [`macro@remote`]. Applications know it as `shaddock::remote`, and need only depend on `shaddock`.

mod expand;
mod read;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

#[doc = include_str!("remote.md")]
#[proc_macro_attribute]
pub fn remote(kind: TokenStream, item: TokenStream) -> TokenStream {
    expand::remote(kind.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
