//! Ids: one type a kind, so that a host can't be mistaken for a region.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl Default for $name {
            fn default() -> Self { $name(Arc::from("")) }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self { $name(Arc::from(text)) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Ok($name(Arc::from(text.as_ref())))
            }
        }
        impl crate::Wire for $name {
            fn put(&self, w: &mut crate::codec::Writer) { w.bytes(self.0.as_bytes()); }
            fn get(r: &mut crate::codec::Reader<'_>) -> Result<Self, crate::DecodeError> {
                Ok($name(Arc::from(r.text()?)))
            }
        }
    };
}

text_id!(
    /// A region's name, such as `us-east-1`.
    RegionId
);
text_id!(
    /// A zone (data centre) within a region, such as `a`.
    ZoneId
);
text_id!(
    /// A host's name, unique within its region.
    HostId
);
text_id!(
    /// A token's public id (`token-…`); never the secret.
    TokenId
);
text_id!(
    /// What an image holds, whatever it is called: see [`crate::image_list`]. 64 hexadecimal digits; empty: none.
    ImageDigest
);

impl ImageDigest {
    /// True when it names nothing.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Its first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
        impl crate::Wire for $name {
            fn put(&self, w: &mut crate::codec::Writer) { w.varint(self.0); }
            fn get(r: &mut crate::codec::Reader<'_>) -> Result<Self, crate::DecodeError> {
                Ok($name(r.varint()?))
            }
        }
    };
}

/// Crockford's base 32 alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn write_base32(mut value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; 13];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn read_base32(text: &str) -> Option<u64> {
    if text.len() != 13 || text.as_bytes()[0] > b'f' {
        return None;
    }
    text.bytes().try_fold(0u64, |value, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)? as u64;
        Some((value << 5) | digit)
    })
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        number_id!($(#[$doc])* $name);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                write_base32(self.0, f)
            }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                text.strip_prefix($prefix).and_then(read_base32).map($name).ok_or_else(|| {
                    format!("`{text}` is not an id of the form {}… (13 letters or digits)", $prefix)
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A virtual machine, `vm_…`; unique for ever.
    VmId, "vm_"
);
random_id!(
    /// A long-running operation, `op_…`.
    OperationId, "op_"
);
random_id!(
    /// A VM's move to another host, `mig_…`.
    MigrationId, "mig_"
);

number_id!(
    /// A region's failover, counted from 1 in the federation: `failover-001`.
    FailoverId
);
number_id!(
    /// A maintenance window, counted from 1 in the federation: `window-001`.
    WindowId
);
number_id!(
    /// A drill, counted from 1 in the federation: `drill-001`.
    DrillId
);
number_id!(
    /// Position in a group's log.
    Revision
);
number_id!(
    /// Fence on one VM: raised by every start, move and takeover.
    Generation
);

impl fmt::Display for FailoverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failover-{:03}", self.0)
    }
}

impl FromStr for FailoverId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("failover-").unwrap_or("");
        match digits.parse::<u64>() {
            Ok(number) if number > 0 => Ok(FailoverId(number)),
            _ => Err(format!("`{text}` is not a failover id such as failover-001")),
        }
    }
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window-{:03}", self.0)
    }
}

impl FromStr for WindowId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("window-").unwrap_or("");
        match digits.parse::<u64>() {
            Ok(number) if number > 0 => Ok(WindowId(number)),
            _ => Err(format!("`{text}` is not the id of a maintenance window such as window-001")),
        }
    }
}

impl fmt::Display for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drill-{:03}", self.0)
    }
}

impl FromStr for DrillId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("drill-").unwrap_or("");
        match digits.parse::<u64>() {
            Ok(number) if number > 0 => Ok(DrillId(number)),
            _ => Err(format!("`{text}` is not a drill id such as drill-001")),
        }
    }
}

impl DrillId {
    /// The name of the copy that a drill makes of a VM of this name.
    pub fn name_of_copy(self, name: &str) -> String {
        format!("{self}-{name}")
    }
}

impl Generation {
    /// The next generation.
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// A replica of the control plane; the number of its region, from 1.
pub type NodeId = u64;

/// A Raft group: 0 is the federation's, n is that of region number n.
pub type GroupId = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_print() {
        for value in [0, 1, 31, 32, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(VmId(value).to_string().parse::<VmId>(), Ok(VmId(value)));
        }
        assert_eq!(FailoverId(7).to_string(), "failover-007");
        assert_eq!("failover-1234".parse(), Ok(FailoverId(1234)));
        assert_eq!(WindowId(7).to_string(), "window-007");
        assert_eq!("window-1234".parse(), Ok(WindowId(1234)));
        assert!("window-0".parse::<WindowId>().is_err() && "7".parse::<WindowId>().is_err());
        assert_eq!("drill-012".parse(), Ok(DrillId(12)));
        assert_eq!(DrillId(12).name_of_copy("web"), "drill-012-web");
    }

    #[test]
    fn foreign_ids_are_refused() {
        for text in ["", "vm_", "op_0000000000000", "vm_000000000000i", "vm_z000000000000", "vm_é00000000000"]
        {
            assert!(text.parse::<VmId>().is_err(), "{text}");
        }
    }
}
