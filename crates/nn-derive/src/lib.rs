//! `#[derive(Module)]`: a struct reports its fields. Its documentation stands at the re-export in `esker-nn`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Ident, LitStr, Result};

/// See `esker_nn::Module`.
#[proc_macro_derive(Module, attributes(module))]
pub fn module(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let parsed = syn::parse_macro_input!(input as DeriveInput);
    expand(&parsed).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(attribute) = input.attrs.iter().find(|a| a.path().is_ident("module")) {
        return Err(Error::new(attribute.span(), "`#[module(..)]` belongs to a field: `skip` or `rename = \"name\"`"));
    }
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(input.ident.span(), "`derive(Module)` takes a struct; write `visit` for anything else"));
    };
    let nn = path();
    let mut reports = Vec::new();
    for (i, field) in data.fields.iter().enumerate() {
        let Some(name) = reported_name(field, i)? else { continue };
        let member = match &field.ident {
            Some(ident) => quote!(#ident),
            None => {
                let index = syn::Index::from(i);
                quote!(#index)
            }
        };
        reports.push(quote_spanned!(field.ty.span()=> #nn::Part::report(&self.#member, #name, v);));
    }
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(#nn::Part));
        parameter.bounds.push(syn::parse_quote!(::core::marker::Send));
        parameter.bounds.push(syn::parse_quote!(::core::marker::Sync));
    }
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let name = &input.ident;
    let ignored = reports.is_empty().then(|| quote!(let _ = v;));
    Ok(quote! {
        #[automatically_derived]
        impl #parameters #nn::Module for #name #arguments #bounds {
            fn visit(&self, v: &mut #nn::Visitor<'_>) {
                #(#reports)*
                #ignored
            }
        }
    })
}

/// What a field is called in paths; `None` for a field that is passed over.
fn reported_name(field: &Field, index: usize) -> Result<Option<String>> {
    let mut name = field.ident.as_ref().map_or_else(|| index.to_string(), |i| i.to_string());
    if let Some(raw) = name.strip_prefix("r#") {
        name = raw.to_string();
    }
    let (mut skip, mut renamed) = (false, false);
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("module")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                skip = true;
                return Ok(());
            }
            if meta.path.is_ident("rename") {
                let given: LitStr = meta.value()?.parse()?;
                name = given.value();
                renamed = true;
                if name.is_empty() || name.contains('.') {
                    return Err(Error::new(given.span(), "a name in a path is not empty and has no `.`"));
                }
                return Ok(());
            }
            Err(meta.error("a field of a module takes `skip` or `rename = \"name\"`"))
        })?;
        if skip && renamed {
            return Err(Error::new(attribute.span(), "a field that is skipped has no name"));
        }
    }
    Ok((!skip).then_some(name))
}

/// Where `esker-nn` is found: as a dependency of its own, or in the facade.
fn path() -> TokenStream {
    let local = |found: FoundCrate, name: &str| match found {
        FoundCrate::Itself => Ident::new(name, Span::call_site()),
        FoundCrate::Name(name) => Ident::new(&name, Span::call_site()),
    };
    if let Ok(found) = crate_name("esker-nn") {
        let name = local(found, "esker_nn");
        return quote!(::#name);
    }
    match crate_name("esker") {
        Ok(found) => {
            let name = local(found, "esker");
            quote!(::#name::nn)
        }
        Err(_) => quote!(::esker_nn),
    }
}
