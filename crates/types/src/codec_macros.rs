//! The macros that list a type's tags.

/// Gives a struct its byte form: `wire_struct!(Host { 1 id, 2 zone });`. The struct must have a default. Fields behind a
/// semicolon are written only where they differ from their default: a version that does not know them then writes the
/// same bytes for as long as nobody sets them.
#[macro_export]
macro_rules! wire_struct {
    ($name:ty { $($tag:literal $field:ident),* $(,)? $(; $($later:literal $new:ident),* $(,)?)? }) => {
        impl $crate::Wire for $name {
            fn put(&self, w: &mut $crate::codec::Writer) {
                $( w.field($tag, |w| $crate::Wire::put(&self.$field, w)); )*
                $($( w.field_that_differs($later, &self.$new); )*)?
                w.varint(0);
            }
            fn get(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                let mut value = <$name>::default();
                loop {
                    let tag = r.varint()?;
                    if tag == 0 {
                        return Ok(value);
                    }
                    let mut inner = r.inner()?;
                    match tag {
                        $( $tag => value.$field = $crate::Wire::get(&mut inner)?, )*
                        $($( $later => value.$new = $crate::Wire::get(&mut inner)?, )*)?
                        _ => {}
                    }
                }
            }
        }
    };
}

/// Gives an enum its byte form: `wire_enum!(Kind { 1 Plain, 2 Sized(size) });`. A choice has no payload or one.
#[macro_export]
macro_rules! wire_enum {
    ($name:ident { $($tag:literal $choice:ident $(($payload:ident))?),* $(,)? }) => {
        impl $crate::Wire for $name {
            fn put(&self, w: &mut $crate::codec::Writer) {
                match self {
                    $( $name::$choice $(($payload))? => w.field($tag, |_w| { $( $crate::Wire::put($payload, _w); )? }), )*
                }
            }
            fn get(r: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                let tag = r.varint()?;
                let mut _inner = r.inner()?;
                match tag {
                    $( $tag => Ok($name::$choice $(({ let $payload = $crate::Wire::get(&mut _inner)?; $payload }))?), )*
                    other => Err($crate::DecodeError::UnknownTag(stringify!($name), other)),
                }
            }
        }
    };
}
