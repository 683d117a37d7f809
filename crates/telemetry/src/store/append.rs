//! Taking samples in.

use std::sync::atomic::Ordering;

use super::head::Applied;
use super::wal::NO_SLOT;
use super::{Appended, Reason, Room, Row, Store, StoreError};

impl Store {
    /// Keeps the samples of a batch. When it returns, they outlast this process; see [`super::Fsync`] for the machine.
    ///
    /// `now_ms` is the clock's, as the samples' times. A sample is refused on its own account ([`Appended::refused`]); the batch as a
    /// whole only when it can't be kept.
    ///
    /// # Errors
    /// The disk does not take the log, or too much is in memory. Nothing of the batch is read then, and it may be appended again; when
    /// only the sync failed it may be found at the next open.
    pub fn append(&self, rows: &[Row<'_>], now_ms: i64) -> Result<Appended, StoreError> {
        self.append_within(rows, now_ms, Room { new: usize::MAX, series: self.config.series_max })
    }

    /// The same; of series that are not there yet no more are made than there is room for.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub fn append_within(&self, rows: &[Row<'_>], now_ms: i64, room: Room) -> Result<Appended, StoreError> {
        let mut wal = self.wal();
        let mut appended = Appended::default();
        let slots = self.slots(rows, now_ms, room, &mut appended)?;
        {
            let head = self.head();
            wal.write(rows, &slots, |slot| head.labels(slot))?;
        }
        wal.sync_if_due(now_ms)?;
        let mut head = self.head_mut();
        for (number, (row, &slot)) in rows.iter().zip(&slots).enumerate() {
            if slot == NO_SLOT {
                continue;
            }
            match head.apply(slot, row.at_ms, &row.value) {
                Applied::Added => appended.added += 1,
                Applied::Same => appended.same += 1,
                Applied::Conflict => appended.refused.push((number, Reason::Conflict)),
            }
            head.reached(row.at_ms.min(now_ms));
        }
        for (_, reason) in &appended.refused {
            self.refused[*reason as usize].fetch_add(1, Ordering::Relaxed);
        }
        Ok(appended)
    }

    /// The slots of the rows' series, made where they are missing; [`NO_SLOT`] for rows that are refused.
    fn slots(
        &self,
        rows: &[Row<'_>],
        now_ms: i64,
        room: Room,
        appended: &mut Appended,
    ) -> Result<Vec<u32>, StoreError> {
        let mut slots = Vec::with_capacity(rows.len());
        let mut missing = Vec::new();
        {
            let head = self.head();
            if head.bytes > self.config.head_bytes_max {
                let (bytes, limit) = (head.bytes, self.config.head_bytes_max);
                return Err(StoreError::MemoryFull { bytes, limit });
            }
            // What would be removed at once is not taken in first.
            let kept_ms = now_ms.saturating_sub(self.config.fine_retention_ms);
            let floor_ms = head.floor_ms(self.config.window_ms).max(kept_ms);
            let ahead_ms = now_ms.saturating_add(self.config.ahead_ms);
            for (number, row) in rows.iter().enumerate() {
                let checked = if row.at_ms < floor_ms {
                    Err(Reason::TooOld)
                } else if row.at_ms > ahead_ms {
                    Err(Reason::TooFarAhead)
                } else {
                    self.config.check_value(&row.value)
                };
                slots.push(match checked.map(|()| head.noted(row.series)) {
                    Ok(Some(slot)) => slot,
                    Ok(None) => {
                        missing.push(number);
                        NO_SLOT
                    }
                    Err(reason) => {
                        appended.refused.push((number, reason));
                        NO_SLOT
                    }
                });
            }
        }
        if !missing.is_empty() {
            self.find_or_create(rows, (&missing, room), &mut slots, appended);
        }
        Ok(slots)
    }

    fn find_or_create(
        &self,
        rows: &[Row<'_>],
        (missing, mut room): (&[usize], Room),
        slots: &mut [u32],
        appended: &mut Appended,
    ) {
        room.series = room.series.min(self.config.series_max);
        let mut head = self.head_mut();
        for &number in missing {
            let series = rows[number].series;
            let found = match head.find(series.labels()) {
                Some(slot) => Ok(slot),
                None => self.config.check_labels(series.labels()).and_then(|()| {
                    let fits = head.series_count() < room.series && room.new > 0;
                    let made = if fits { head.create(series.labels()) } else { None };
                    room.new -= usize::from(made.is_some());
                    made.ok_or(Reason::TooManySeries)
                }),
            };
            match found {
                Ok(slot) => {
                    series.set_id(head.id(slot));
                    slots[number] = slot;
                }
                Err(reason) => appended.refused.push((number, reason)),
            }
        }
    }
}
