//! Where samples go that are to be kept: into the region's store, and to whoever gets a copy of what is there.

use std::sync::Arc;

use dwcp_telemetry::model::Sample;
use dwcp_telemetry::store::{Appended, Room, Row, SeriesRef, Store, StoreError};

use super::sender::Receiver;

/// Takes samples in. Clones share everything.
#[derive(Clone, Default)]
pub struct Intake {
    /// None: another program keeps them, or nobody.
    pub store: Option<Arc<Store>>,
    pub receivers: Arc<Vec<Arc<Receiver>>>,
}

impl Intake {
    /// Whether somebody takes what is taken in.
    pub fn is_open(&self) -> bool {
        self.store.is_some() || !self.receivers.is_empty()
    }

    /// Keeps samples and passes on those that are kept. `room`: for how many series; as many as the store takes without it. Blocks.
    ///
    /// # Errors
    /// They can't be kept, and are not passed on.
    pub fn take(
        &self,
        samples: &[(SeriesRef, Sample)],
        now_ms: i64,
        room: Option<Room>,
    ) -> Result<Appended, StoreError> {
        let appended = match &self.store {
            None => Appended { added: samples.len() as u64, ..Appended::default() },
            Some(store) => {
                let rows: Vec<Row<'_>> = samples
                    .iter()
                    .map(|(series, sample)| Row { series, at_ms: sample.at_ms, value: sample.value.clone() })
                    .collect();
                match room {
                    Some(room) => store.append_within(&rows, now_ms, room)?,
                    None => store.append(&rows, now_ms)?,
                }
            }
        };
        let mut kept = vec![true; samples.len()];
        appended.refused.iter().for_each(|(number, _)| kept[*number] = false);
        for receiver in self.receivers.iter() {
            let of = samples.iter().zip(&kept).filter(|(_, kept)| **kept);
            receiver.put(of.map(|((series, sample), _)| (series.labels().clone(), sample.clone())));
        }
        Ok(appended)
    }
}
