//! The shapes of wire types, requests and endpoints, written once.

/// Wire types: the derives every one of them has. Unknown fields of answers are ignored, so that a client of the
/// version before can read them.
macro_rules! wire {
    ($($(#[$meta:meta])* pub $kind:ident $name:ident $body:tt)*) => {
        $(
            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            $(#[$meta])*
            pub $kind $name $body
        )*
    };
}

/// Requests: wire types that refuse unknown fields, so that a misspelt one is never silently ignored.
macro_rules! request {
    ($($(#[$meta:meta])* pub struct $name:ident $body:tt)*) => {
        $(
            #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            $(#[$meta])*
            pub struct $name $body
        )*
    };
}

/// Endpoints: a unit type each, with its first doc line as summary.
macro_rules! endpoint {
    ($(#[doc = $summary:literal] $name:ident: $method:ident $path:literal, $needs:ident, $request:ty => $response:ty $(, $kind:ident)?;)*) => {
        $(
            #[doc = $summary]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl $crate::Endpoint for $name {
                const NAME: &'static str = stringify!($name);
                const SUMMARY: &'static str = $summary;
                const METHOD: $crate::Method = $crate::Method::$method;
                const PATH: &'static str = $path;
                const NEEDS: $crate::Permission = $crate::Permission::$needs;
                const WATCH: bool = endpoint!(@watch $($kind)?);
                const MEASURED: bool = endpoint!(@measured $($kind)?);
                type Request = $request;
                type Response = $response;
            }
        )*
    };
    (@watch watch) => { true };
    (@watch $($other:ident)?) => { false };
    (@measured measured) => { true };
    (@measured $($other:ident)?) => { false };
}
