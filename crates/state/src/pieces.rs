//! A group's facts as named pieces, one for each entry of each map, and back: what is the same from one look to another is the
//! same bytes, and one record can be looked at without the others.
//!
//! What is in no map is the piece `rest`: the facts with their maps emptied. So a field that is not named here is in it, and
//! nothing is left out because somebody forgot to name it.

use std::collections::BTreeMap;

use dwcp_types::{DecodeError, VmId, Wire, decode, encode};

use std::fmt::Debug;

use crate::reading::Reading;
use crate::{Core, Event, Ledger, RegionFacts, Vm, encoding};

/// A named part of a group's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Its name within the group, such as `vms/7f3a…`.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One group's facts, apart from all others.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// The federation's own.
    Core(Box<Core>),
    /// A region's.
    Region(Box<RegionFacts>),
}

const REST: &str = "rest";
const EVENTS: &str = "events/";

/// Takes a map apart.
fn apart<K: Wire + Ord + ToString, V: Wire>(
    pieces: &mut BTreeMap<String, Vec<u8>>,
    name: &str,
    map: &mut BTreeMap<K, V>,
) {
    for (key, value) in std::mem::take(map) {
        let name = format!("{name}/{}", key.to_string());
        let before = pieces.insert(name, encode(&(key, value)));
        assert!(before.is_none(), "two keys of a map read alike");
    }
}

/// Puts an entry of a map back.
fn together<K: Wire + Ord, V: Wire>(map: &mut BTreeMap<K, V>, bytes: &[u8]) -> Result<(), DecodeError> {
    let (key, value) = decode(bytes)?;
    map.insert(key, value);
    Ok(())
}

/// An entry of a map in words.
fn in_words<K: Wire, V: Wire + Debug>(_: &BTreeMap<K, V>, bytes: &[u8]) -> Result<Reading, DecodeError> {
    let (_, value): (K, V) = decode(bytes)?;
    Ok(Reading::of(&value))
}

fn ledger_apart(pieces: &mut BTreeMap<String, Vec<u8>>, ledger: &mut Ledger) {
    apart(pieces, "outcomes", &mut ledger.outcomes);
    let (mut last, mut nth) = (None, 0);
    for event in std::mem::take(&mut ledger.events) {
        nth = if last == Some(event.revision) { nth + 1 } else { 0 };
        last = Some(event.revision);
        pieces.insert(format!("{EVENTS}{:020}/{nth:06}", event.revision.0), encode(&event));
    }
}

/// The maps of a kind of facts, and the names of their pieces.
macro_rules! maps {
    ($facts:ty, $($name:literal $field:ident),* $(,)?) => {
        impl $facts {
            /// The facts as pieces, sorted by name.
            fn into_pieces(mut self) -> Vec<Piece> {
                let mut pieces = BTreeMap::new();
                $( apart(&mut pieces, $name, &mut self.$field); )*
                ledger_apart(&mut pieces, &mut self.ledger);
                pieces.insert(REST.to_string(), encode(&self));
                pieces.into_iter().map(|(name, bytes)| Piece { name, bytes }).collect()
            }

            fn take_piece(&mut self, name: &str, bytes: &[u8]) -> Result<(), DecodeError> {
                if name.starts_with(EVENTS) {
                    self.ledger.events.push_back(decode(bytes)?);
                    return Ok(());
                }
                match name.split_once('/').map_or(name, |(map, _)| map) {
                    $( $name => together(&mut self.$field, bytes), )*
                    "outcomes" => together(&mut self.ledger.outcomes, bytes),
                    _ => Err(DecodeError::Invalid("a piece of facts that this version does not know")),
                }
            }

            fn read_piece(name: &str, bytes: &[u8]) -> Result<Reading, DecodeError> {
                let facts = <$facts>::default();
                match name.split_once('/').map_or(name, |(map, _)| map) {
                    $( $name => in_words(&facts.$field, bytes), )*
                    "outcomes" => in_words(&facts.ledger.outcomes, bytes),
                    "events" => Ok(Reading::of(&decode::<Event>(bytes)?)),
                    REST => Ok(Reading::of(&decode::<$facts>(bytes)?)),
                    _ => Err(DecodeError::Invalid("a piece of facts that this version does not know")),
                }
            }
        }
    };
}

maps!(
    Core,
    "regions" regions, "tokens" tokens, "failovers" failovers, "operations" operations, "windows" windows,
    "drills" drills, "images" images, "releases" releases,
    "documents" documents,
);
maps!(
    RegionFacts,
    "hosts" hosts, "vms" vms, "departures" departures, "tombstones" tombstones, "declined" declined, "claims" claims,
    "operations" operations, "born" born, "horizons" horizons, "migrations" migrations, "arrivals" arrivals,
    "replicas" replicas, "replicas-declined" replicas_declined,
);

impl Facts {
    /// The facts of [`crate::Federation::snapshot`]: of the federation's own group, or of a region's.
    ///
    /// # Errors
    /// They are none, or a later version's.
    pub fn of_snapshot(core: bool, bytes: &[u8]) -> Result<Facts, DecodeError> {
        Ok(match core {
            true => Facts::Core(Box::new(encoding::decode_core(bytes)?)),
            false => Facts::Region(Box::new(encoding::decode_region(bytes)?)),
        })
    }

    /// The bytes that [`crate::Federation::restore`] takes.
    pub fn snapshot(&self) -> Vec<u8> {
        match self {
            Facts::Core(core) => encoding::encode_core(core),
            Facts::Region(facts) => encoding::encode_region(facts),
        }
    }

    /// The facts as pieces, sorted by name.
    pub fn into_pieces(self) -> Vec<Piece> {
        match self {
            Facts::Core(core) => core.into_pieces(),
            Facts::Region(facts) => facts.into_pieces(),
        }
    }

    /// A piece in words: of the federation's own facts, or of a region's.
    ///
    /// # Errors
    /// It can't be read.
    pub fn reading(core: bool, name: &str, bytes: &[u8]) -> Result<Reading, DecodeError> {
        match core {
            true => Core::read_piece(name, bytes),
            false => RegionFacts::read_piece(name, bytes),
        }
    }

    /// The VM of a piece of a region's facts.
    ///
    /// # Errors
    /// It is none.
    pub fn vm_of_piece(bytes: &[u8]) -> Result<Vm, DecodeError> {
        decode::<(VmId, Vm)>(bytes).map(|(_, vm)| vm)
    }

    /// Facts from all of their pieces, in any order but that of events.
    ///
    /// # Errors
    /// A piece is missing that must be there, or can't be read.
    pub fn of_pieces(core: bool, pieces: &[Piece]) -> Result<Facts, DecodeError> {
        let rest = pieces.iter().find(|piece| piece.name == REST);
        let rest = rest.ok_or(DecodeError::Invalid("facts without what is in no map"))?;
        let others = pieces.iter().filter(|piece| piece.name != REST);
        Ok(match core {
            true => {
                let mut facts: Core = decode(&rest.bytes)?;
                for piece in others {
                    facts.take_piece(&piece.name, &piece.bytes)?;
                }
                Facts::Core(Box::new(facts))
            }
            false => {
                let mut facts: RegionFacts = decode(&rest.bytes)?;
                for piece in others {
                    facts.take_piece(&piece.name, &piece.bytes)?;
                }
                facts.reindex();
                Facts::Region(Box::new(facts))
            }
        })
    }
}
